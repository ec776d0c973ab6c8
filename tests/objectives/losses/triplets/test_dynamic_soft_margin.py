import math

import pytest
import torch
from combinations import every
from oracles import mean, triplets_of
from pytorch_metric_learning import losses as peers
from row_oracles import DTYPES, LABELLED, LAYOUTS, Account, fast, hold, some_pairs

from metriscope.losses import DynamicSoftMarginLoss
from metriscope.objectives.distances.euclidean import Euclidean
from metriscope.objectives.kernels import steps
from metriscope.objectives.miners.bands import AllMiner
from metriscope.objectives.objective import Objective
from metriscope.objectives.samples import Spaces
from metriscope.objectives.selection import TripletBand, Triplets

BINS, WIDTH = 10, 0.4


def oracle(batch):
    """The first batch: shares of its own triplets, each shared between two nodes."""
    gaps = [
        batch.distances[a][p] - batch.distances[a][n]
        for a in range(len(batch.labels))
        for p in batch.positive[a]
        for n in batch.negative[a]
    ]
    histogram = [0.0] * BINS
    places = [min(max((float(x.detach()) + 2) / WIDTH, 0), BINS - 1e-9) for x in gaps]
    for place in places:
        k, upper = math.floor(place), place - math.floor(place)
        histogram[k] += (1 - upper) / len(gaps)
        histogram[min(k + 1, BINS - 1)] += upper / len(gaps)
    weights = [sum(histogram[: math.floor(place) + 1]) for place in places]
    terms = [w * x for w, x in zip(weights, gaps, strict=True)]
    return Account(mean(terms), len(terms), len(terms))


@every(labels=LAYOUTS, dtype=DTYPES, memory=(False, True))
def test_layouts(labels, dtype, memory):
    hold(DynamicSoftMarginLoss().to(dtype), oracle, labels, "euclidean", dtype, memory)


def test_some_anchors_at_a_time(monkeypatch):
    monkeypatch.setattr(steps, "chunk_elements", lambda _: 1)
    hold(DynamicSoftMarginLoss(), oracle, LABELLED, "euclidean", torch.float64, memory=True)


def test_of_mined_pairs_and_of_the_list_of_their_triplets():
    pairs = some_pairs()
    hold(DynamicSoftMarginLoss(), oracle, LABELLED, "euclidean", torch.float64, pairs=pairs)
    chosen = triplets_of(pairs.positive.nonzero().tolist(), pairs.negative.nonzero().tolist())
    columns = torch.tensor(chosen).T
    listed = Triplets(*columns, torch.ones(len(chosen), dtype=torch.bool))
    z = unit(10)
    both = [DynamicSoftMarginLoss()(fast(z, LABELLED, "euclidean"), one) for one in (pairs, listed)]
    torch.testing.assert_close(both[0].value, both[1].value)
    found, wanted = (torch.autograd.grad(one.value, z)[0] for one in both)
    torch.testing.assert_close(found, wanted)
    assert both[0].terms == both[1].terms == len(chosen)


class Constant(peers.DynamicSoftMarginLoss):
    """Without the gradient through the histogram."""

    def update_histogram(self, data):
        super().update_histogram(data.detach())


def unit(count, seed=0):
    source = torch.Generator().manual_seed(seed)
    z = torch.randn(count, 4, dtype=torch.float64, generator=source)
    return torch.nn.functional.normalize(z).requires_grad_()


@pytest.mark.parametrize("bins", [1, 10, 57])
def test_equal_to_pytorch_metric_learning_over_batches(bins):
    # Distances below 1.4, so that nothing lies above the last node, where that library raises.
    labels, momentum = torch.tensor(LABELLED), 0.3
    objective = Objective(Euclidean(), AllMiner(), DynamicSoftMarginLoss(num_bins=bins, momentum=momentum)).double()
    terms = objective(Spaces.of(unit(10), labels)).output.terms.item()
    objective.loss.frequencies.zero_()
    # There, the histogram of a batch is one of counts.
    peer = Constant(num_bins=bins + (bins == 1), momentum=momentum / (terms * (1 - momentum) + momentum))
    for seed in range(3):
        leaf = (0.5 * unit(10, seed) + torch.tensor([0.8, 0, 0, 0])).detach().requires_grad_()
        # The other library normalises by itself, and derives through that.
        z = torch.nn.functional.normalize(leaf)
        value = objective(Spaces.of(z, labels)).output.value
        if bins == 1:
            wanted = torch.stack(list(_gaps(z, labels))).mean()
        else:
            wanted = peer(z, labels)
            torch.testing.assert_close(objective.loss.frequencies, peer.hist_, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(value, wanted, rtol=1e-9, atol=1e-12)
        found, expected = (torch.autograd.grad(one, leaf, retain_graph=True)[0] for one in (value, wanted))
        torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-9)


def _gaps(z, labels):
    same = labels.unsqueeze(1) == labels
    for a in range(len(z)):
        for p in range(len(z)):
            for n in range(len(z)):
                if p != a and same[a, p] and not same[a, n]:
                    yield (z[a] - z[p]).norm() - (z[a] - z[n]).norm()


def test_only_training_moves_the_histogram():
    objective = Objective(Euclidean(), AllMiner(), DynamicSoftMarginLoss(momentum=0.5))
    labels = torch.tensor(LABELLED)
    objective.eval()(Spaces.of(unit(10), labels))
    assert not objective.loss.frequencies.any()
    objective.train()(Spaces.of(unit(10), labels))
    first = objective.loss.frequencies.clone()
    assert first.sum().item() == pytest.approx(1)
    objective(Spaces.of(unit(10), torch.zeros(10, dtype=torch.int64)))
    assert torch.equal(objective.loss.frequencies, first), "a batch without triplets"
    objective(Spaces.of(unit(10, seed=1), labels))
    assert not torch.equal(objective.loss.frequencies, first)
    restored = DynamicSoftMarginLoss()
    restored.load_state_dict(objective.loss.state_dict())
    assert torch.equal(restored.frequencies, objective.loss.frequencies)


def test_triplets_beyond_the_last_node_count_there():
    z = torch.tensor([[1.0, 0], [-1, 0], [1, 0], [-1, 0]], dtype=torch.float64)
    objective = Objective(Euclidean(), AllMiner(), DynamicSoftMarginLoss())
    value = objective(Spaces.of(z, torch.tensor([0, 0, 1, 1]))).output.value
    # x is 2 where the negative coincides with the anchor, and 0 where it lies opposite.
    assert objective.loss.frequencies.tolist() == [0] * 5 + [0.5] + [0] * 3 + [0.5]
    assert value.item() == pytest.approx((2 * 1.0 + 0 * 0.5) / 2)


def test_slopes_of_pairs():
    z = unit(10)
    comparison = fast(z, LABELLED, "euclidean")
    found = DynamicSoftMarginLoss()(comparison, TripletBand()).slopes(slice(0, 10))
    d = comparison.distances.detach().requires_grad_()
    a, p, n = torch.tensor(
        triplets_of(comparison.positive.nonzero().tolist(), comparison.negative.nonzero().tolist())
    ).T
    x = d[a, p] - d[a, n]
    places = (x.detach() + 2) / WIDTH
    nodes = torch.zeros(BINS + 1, dtype=torch.float64)
    nodes.index_add_(0, places.long(), 1 - places.frac()).index_add_(0, places.long() + 1, places.frac())
    shares = (nodes / len(x)).cumsum(0)[places.long()]
    wanted = torch.autograd.grad((shares * x).mean(), d)[0]
    torch.testing.assert_close(found.slopes, wanted)
