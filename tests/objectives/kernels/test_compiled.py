"""Losses of rows in one compiled graph without a break, beside the same losses by blocks."""

import torch
from combinations import every
from oracles import DISTANCES
from row_losses import LOSSES, Halved, Softmax, Stretched, Threefold, judged, points
from row_oracles import LABELLED
from row_rules import B, numbers

from metriscope.losses import InfoNCELoss, NCALoss, SupConLoss
from metriscope.objectives.selection import Pairs

WEIGHTS = numbers(B, 1, 9).detach()


def by_index(losses, index):
    return WEIGHTS[index]


def both(loss, *leaves, judge):
    """Values and gradients, as they are and in a graph."""
    torch.compiler.reset()
    found = []
    for one in (judge, torch.compile(judge, fullgraph=True, backend="eager")):
        value = one(*leaves)
        by_leaves = torch.autograd.grad(value, [*leaves, *loss.parameters()])
        found.append([value.detach(), *by_leaves])
    return found


def hold(loss, distance=None, **how):
    z, past = points()
    leaves = z, past.requires_grad_()
    plain, graphed = both(loss, *leaves, judge=lambda z, past: judged(loss, z, past, distance, **how).value)
    for one, other in zip(graphed, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


@every(distance=("euclidean", "cosine"))
def test_a_formula_with_a_learned_parameter(distance):
    hold(Softmax(), DISTANCES[distance]())


@every(name=("MarginLoss", "SignalToNoiseLoss", "ContrastiveLoss"))
def test_losses_with_numbers_or_two_sums(name):
    hold(LOSSES[name])


@every(loss=(Softmax, InfoNCELoss))
def test_a_learned_distance(loss):
    loss, distance = loss(), Stretched()
    z, past = points()
    plain, graphed = both(loss, z, distance.axes, judge=lambda z, _: judged(loss, z, past, distance).value)
    for one, other in zip(graphed, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


@every(distance=(Halved, Threefold))
def test_a_distance_of_products(distance):
    hold(NCALoss(), distance())


def test_similarities_of_a_distance_of_products():
    hold(InfoNCELoss(), Halved())


def test_weights_of_anchors_by_hand():
    hold(SupConLoss(), weigh=by_index)


def test_weights_of_anchors_of_a_formula():
    hold(Softmax(), weigh=by_index)


@every(loss=(Softmax, SupConLoss))
def test_weights_of_pairs(loss):
    labels, past = torch.tensor(LABELLED), points()[1]
    masks = torch.zeros(2, B, B + len(past), dtype=torch.bool)
    same = labels.unsqueeze(1) == labels
    masks[0, :, :B], masks[1, :, :B] = same & ~torch.eye(B, dtype=torch.bool), ~same
    columns = B + len(past)
    hold(loss(), selection=Pairs(*masks, numbers(B, columns, 3).detach(), numbers(B, columns, 4).detach()))


def test_the_slopes_of_a_compiled_loss_are_had_by_asking_once_more():
    loss = SupConLoss()
    graphed = torch.compile(lambda z, past: judged(loss, z, past), fullgraph=True, backend="eager")
    output, again = graphed(*points()), judged(loss, *points())
    assert (output.compiled, output.slopes) == (True, None)
    assert not again.compiled
    assert again.slopes(slice(0, B)).slopes.any()
    assert torch.equal(output.rows, again.rows)
