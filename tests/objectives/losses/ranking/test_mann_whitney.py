"""Mann-Whitney loss against a loop over pairs of pairs, exact and over nodes, and worked values."""

import math

import pytest
import torch
from combinations import every
from loop_oracles import CASES, DTYPES, case, hold, hold_form, hold_selected_pairs
from oracles import Account, some_pairs, total
from worked_examples import EXACT, compared, hold_example, tensor

from metriscope.losses import HistogramLoss, InfoNCELoss, SoftMarginTripletLoss
from metriscope.objectives.comparison import Comparison, Segment
from metriscope.objectives.distances.base import Distance
from metriscope.objectives.distances.euclidean import SquaredEuclidean
from metriscope.objectives.losses.ranking.mann_whitney import MannWhitneyLoss
from metriscope.objectives.samples import Samples
from metriscope.objectives.selection import Pairs, TripletBand

ALL, TEMPERATURE = TripletBand(), 0.3


def oracle(cost, summed=False):
    def account(rows):
        positives = [s[p] for s, columns, _ in rows for p in columns]
        negatives = [s[n] for s, _, columns in rows for n in columns]
        if not positives or not negatives:
            return Account(total([]), 0, 0)
        costs = cost(torch.stack(positives).unsqueeze(1), torch.stack(negatives))
        terms = len(positives) + len(negatives)
        return Account(costs.sum(1).mean() if summed else costs.mean(), terms, terms)

    return account


def exact(p, n):
    return torch.nn.functional.softplus((n - p) / TEMPERATURE)


def over_nodes(bins):
    """The cost between the two nodes around a positive and the two around a negative."""

    def sides(s):
        """Both nodes, each with its share."""
        place = (s + 1) * bins / 2
        lower = place.detach().floor().clamp(max=bins - 1)
        return [(lower, 1 - (place - lower)), (lower + 1, place - lower)]

    def cost(p, n):
        return sum(u * v * exact(i * 2 / bins, j * 2 / bins) for i, u in sides(p) for j, v in sides(n))

    return cost


def binned(bins_per_temperature=2, **keys):
    return MannWhitneyLoss(TEMPERATURE, pairs_limit=0, bins_per_temperature=bins_per_temperature, **keys)


BINS = math.ceil(4 / TEMPERATURE)


@every(name=CASES, dtype=DTYPES)
def test_against_the_loop(name, dtype):
    hold(MannWhitneyLoss(TEMPERATURE), oracle(exact), name, dtype)
    hold(binned(), oracle(over_nodes(BINS)), name, dtype)


def test_selected_pairs():
    hold_selected_pairs(MannWhitneyLoss(TEMPERATURE, sum_negatives=True), oracle(exact, summed=True))
    hold_selected_pairs(binned(sum_negatives=True), oracle(over_nodes(BINS), summed=True))


@pytest.mark.parametrize("loss", [MannWhitneyLoss(TEMPERATURE), binned()], ids=["exact", "binned"])
def test_form(loss):
    hold_form(loss)


def test_worked_example():
    alike = -0.122302166825
    slopes = {(0, 3): 0.249905313292, (0, 1): alike, (3, 4): alike}
    output = hold_example(MannWhitneyLoss(0.1), 1.389947775587, slopes, 1.246482234756)
    assert output.value.item() / math.log(2) == pytest.approx(2.005, abs=5e-4)
    hold_example(MannWhitneyLoss(0.5), 0.529220587635, {(0, 3): 0.052902766309})
    summed = hold_example(MannWhitneyLoss(0.5, sum_negatives=True), 11.642852927976, {})
    torch.testing.assert_close(summed.parts["loss_mean"].item(), 0.529220587635, **EXACT)


def test_within_an_anchor_it_is_a_soft_margin():
    """The same cost of the pairs of one anchor alone: 2 - 2 s stands for a temperature of 1/2."""
    z, comparison = compared()
    value = SoftMarginTripletLoss()(z, comparison.anchors.labels, distance=SquaredEuclidean())
    torch.testing.assert_close(value.item(), 0.508124106481, **EXACT)
    one = Pairs(*(mask & (torch.arange(6) == 0).unsqueeze(1) for mask in (comparison.positive, comparison.negative)))
    found = MannWhitneyLoss(0.5)(comparison, one).value
    wanted = SoftMarginTripletLoss()(Comparison(comparison.anchors, comparison.segments, SquaredEuclidean()), one).value
    torch.testing.assert_close(found, wanted)


def test_bounds_the_area_over_the_curve():
    """Ties count as errors, as they do between fine nodes of the histogram loss."""
    _, comparison = compared()
    area = HistogramLoss(1000)(comparison, ALL).value.item()
    assert area == pytest.approx(48 / 176, abs=1e-12)
    for temperature in (0.02, 0.1, 0.5):
        assert area <= MannWhitneyLoss(temperature)(comparison, ALL).value.item() / math.log(2)


@every(temperature=(0.02, 0.1, 0.5))
def test_nodes_come_close_to_each_with_each(temperature):
    z, comparison = compared()
    found = [MannWhitneyLoss(temperature, pairs_limit=limit)(comparison, ALL).value for limit in (0, 176)]
    assert 0 <= float((found[0] - found[1]).detach()) <= 1 / 16 / 8**2
    by_nodes, wanted = (torch.autograd.grad(value, z, retain_graph=True)[0] for value in found)
    torch.testing.assert_close(by_nodes, wanted, rtol=0, atol=0.01 * float(wanted.abs().max()))


def test_a_constant_of_an_anchor_counts():
    """Softmax losses do not see how similarities of different anchors compare."""

    class Shifted(Distance):
        name = "shifted"

        def block(self, anchors, references):
            return 1 - anchors @ references.T - 0.2 * torch.arange(len(anchors)).unsqueeze(1)

        def to_squared_euclidean(self, distances):
            return 2 * distances

    _, comparison = compared()
    shifted = Comparison(comparison.anchors, [Segment(comparison.anchors)], Shifted())
    one, other = (InfoNCELoss(0.5)(some, ALL).value for some in (comparison, shifted))
    torch.testing.assert_close(one, other)
    one, other = (MannWhitneyLoss(0.5)(some, ALL).value for some in (comparison, shifted))
    assert abs(float((one - other).detach())) > 0.01


def test_far_apart_costs_do_not_overflow():
    z = tensor([(1, 0), (-1, 0), (1, 0), (-1, 0)]).float().requires_grad_()
    samples = Samples.of(z, torch.tensor([0, 0, 1, 1]))
    for limit in (0, 1000):
        value = MannWhitneyLoss(1e-3, pairs_limit=limit)(z, samples.labels)
        assert value.isfinite()
        assert torch.autograd.grad(value, z)[0].isfinite().all()


def test_the_graph_of_a_miner_is_exact_as_well():
    _, comparison = case("few classes", torch.float64, "cosine")
    pairs = some_pairs(comparison)
    plain = MannWhitneyLoss(TEMPERATURE)(comparison, pairs).value
    torch._dynamo.reset()
    graphed = torch.compile(lambda: MannWhitneyLoss(TEMPERATURE)(comparison, pairs).value, backend="eager")()
    torch.testing.assert_close(graphed, plain)
