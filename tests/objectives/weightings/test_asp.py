"""Adaptive supervision against the numbers of its page."""

import pytest
import torch
from worked_examples import EXACT, POINTS, compared, tensor

from metriscope.losses import InfoNCELoss
from metriscope.objectives.distances.cosine import Cosine
from metriscope.objectives.miners.bands import AllMiner
from metriscope.objectives.objective import Objective
from metriscope.objectives.samples import Moment
from metriscope.objectives.selection import Pairs, TripletBand
from metriscope.objectives.weightings.asp import _LOOKUPS, AdaptiveSupervisionWeighting


def judged(part, epoch, selection=None, labels=None):
    z, comparison = compared() if labels is None else compared(labels)
    comparison.moment = Moment(epoch)
    objective = Objective(Cosine(), AllMiner(), InfoNCELoss(0.5), weighting=part)
    output = objective.judge(comparison, selection or TripletBand()).output
    return output, torch.autograd.grad(output.value, z)[0]


@pytest.mark.parametrize(
    ("arguments", "epoch", "value", "slopes"),
    [
        (("lambda", "linear", 0.75), 9, 1.073357540313, {(0, 3): 0.224883451724, (0, 1): -0.152963476467}),
        (("sigmoid", "top"), 5, 1.071808831384, {(0, 1): -0.141096226568}),
        (("linear", "bell"), 5, 1.139732392446, {}),
        (("linear", "linear"), 0, 1.180632344869, {}),
        (("sigmoid", "uniform"), 5, 1.180632344869, {}),
    ],
)
def test_the_example_of_the_page(arguments, epoch, value, slopes):
    output, _ = judged(AdaptiveSupervisionWeighting(10, *arguments), epoch)
    torch.testing.assert_close(output.value.item(), value, **EXACT)
    found = output.slopes(slice(0, 6)).slopes
    for pair, slope in slopes.items():
        torch.testing.assert_close(found[pair].item(), slope, **EXACT)


def test_schedules_and_lookups():
    times = [0, 0.25, 0.5, 0.75, 0.9]
    wanted = {
        "sigmoid": [0.993307149, 0.92414182, 0.5, 0.07585818, 0.01798621],
        "linear": [1, 0.75, 0.5, 0.25, 0.1],
        "lambda": [1, 1, 1, 1, 0.4],
        "constant": [1] * 5,
    }
    for schedule, shares in wanted.items():
        part = AdaptiveSupervisionWeighting(schedule=schedule, constant_share=0.75)
        assert [part._share(t) for t in times] == pytest.approx(shares, abs=1e-9)
    assert AdaptiveSupervisionWeighting(constant_share=1.0)._share(1) == 1
    s = tensor([-0.352, 0.28, 0.8])
    assert _LOOKUPS["top"](s).tolist() == pytest.approx([0, 0.693974063, 0.979795897], abs=1e-9)
    assert _LOOKUPS["linear"](s).tolist() == [0, 0.28, 0.8]
    assert _LOOKUPS["bell"](s).tolist() == pytest.approx([0.001199116, 0.270863972, 0.194186055], abs=1e-9)


@pytest.mark.parametrize(
    ("schedule", "lookup", "epoch", "value"),
    [
        ("lambda", "linear", 36, 0.871934063823),
        ("sigmoid", "top", 20, 0.83072852171),
        ("linear", "bell", 20, 0.795424506255),
    ],
)
def test_the_weights_are_those_of_the_authors_code(schedule, lookup, epoch, value):
    x = tensor(POINTS)
    scores = x[[0, 2, 3]] @ x[[1, 0, 4]].T
    own = scores.diagonal()
    part = AdaptiveSupervisionWeighting(40, schedule, lookup, 0.75)
    weights = part._weights(own, torch.ones(3, dtype=torch.bool), part._share(epoch / 40))
    # There each query is its own negative as well, at a similarity of -10.
    others = scores.masked_fill(torch.eye(3, dtype=torch.bool), -10)
    terms = torch.cat([own.unsqueeze(1), others], 1).div(0.5).logsumexp(1) - own / 0.5
    torch.testing.assert_close((weights * terms).mean().item(), value, **EXACT)


def test_while_all_positives_count_alike_no_bit_changes():
    plain, weighed = judged(None, 0), judged(AdaptiveSupervisionWeighting(), 4)
    assert torch.equal(plain[0].value, weighed[0].value)
    assert torch.equal(plain[1], weighed[1])


def test_batches_without_weights_or_without_terms():
    plain, by_plain = judged(None, 0, labels=[0, 1, 2, 2, 3, 0])
    # The positives (0, 5) and (2, 3) have the similarities -0.96 and -0.6: at the end all weights would be 0.
    weighed, by_weighed = judged(AdaptiveSupervisionWeighting(), 10, labels=[0, 1, 2, 2, 3, 0])
    assert torch.equal(weighed.value, plain.value)
    assert torch.equal(by_weighed, by_plain)
    nothing, by_nothing = judged(AdaptiveSupervisionWeighting(), 9, labels=[0, 1, 2, 3, 4, 5])
    assert (int(nothing.terms), nothing.value.item(), by_nothing.abs().sum().item()) == (0, 0, 0)


def test_anchors_without_a_negative_do_not_move_the_mean_and_weights_of_a_miner_stay():
    _, comparison = compared()
    comparison.moment = Moment(9)
    negative = comparison.negative.clone()
    negative[0] = False
    part, twice = AdaptiveSupervisionWeighting(10, "linear"), torch.full((6, 6), 2.0, dtype=torch.float64)
    found = part.weigh_pairs(comparison, Pairs(comparison.positive, negative)).positive_weights
    terms = comparison.positive & negative.any(1, keepdim=True)
    torch.testing.assert_close(found[terms].mean().item(), 1.0, **EXACT)
    again = part.weigh_pairs(comparison, Pairs(comparison.positive, negative, twice)).positive_weights
    assert torch.equal(again, 2 * found)
