"""Contrastive attraction and repulsion against a loop over anchors, and worked values."""

import pytest
import torch
from combinations import every
from loop_oracles import CASES, DTYPES, hold, hold_form, hold_selected_pairs, mean_of
from oracles import Account, mean, total
from worked_examples import EXACT, compared, hold_example

from metriscope.objectives.losses.pairs.cacr import CACRLoss
from metriscope.objectives.selection import Pairs, TripletBand

WORKED = {
    "t 1": ({}, 0.057809628074, {(0, 3): 0.407643100627, (0, 1): -0.024192516935, (3, 4): -0.4}, 0.790525119900),
    "detached": ({"detach_weights": True}, 0.057809628074, {(0, 3): 0.297320094845, (0, 1): -0.104459997566}, None),
    "t- 0.9": ({"t_negative": 0.9}, 0.017139313777, {}, None),
    "rbf": ({"repulsion": "rbf"}, 0.171276949276, {(0, 3): 0.448595750252}, None),
}


def weighed(costs, sharpness):
    return (torch.softmax(sharpness * torch.stack(costs), 0) * torch.stack(costs)).sum()


@mean_of
def squared(s, positives, negatives):
    pull, push = (weighed([2 - 2 * s[j] for j in js], t) for js, t in ((positives, 1.5), (negatives, -0.7)))
    return [2 * pull - 0.5 * push]


def rbf(rows):
    pulls, nears = [], []
    for s, positives, negatives in rows:
        if positives and negatives:
            pulls.append(weighed([2 - 2 * s[p] for p in positives], 1.5))
            costs = torch.stack([2 - 2 * s[n] for n in negatives])
            nears.append((torch.softmax(-0.7 * costs, 0) * (-3 * costs).exp()).sum())
    value = 2 * mean(pulls) + 0.5 * mean(nears).log() if pulls else total([])
    return Account(value, len(pulls), len(pulls))


ORACLES = {"squared": squared, "rbf": rbf}


def loss_of(repulsion):
    return CACRLoss(2.0, 0.5, 1.5, 0.7, repulsion, 3.0)


@every(name=CASES, dtype=DTYPES, repulsion=tuple(ORACLES))
def test_against_the_loop(name, dtype, repulsion):
    output = hold(loss_of(repulsion), ORACLES[repulsion], name, dtype)
    assert output.parts["attraction"] + output.parts["repulsion"] == pytest.approx(float(output.value.detach()))


@pytest.mark.parametrize("repulsion", ORACLES)
def test_selected_pairs_and_form(repulsion):
    hold_selected_pairs(loss_of(repulsion), ORACLES[repulsion])
    hold_form(loss_of(repulsion))


@pytest.mark.parametrize(("arguments", "value", "slopes", "by_first"), WORKED.values(), ids=WORKED)
def test_worked_example(arguments, value, slopes, by_first):
    output = hold_example(CACRLoss(**({"t_negative": 1.0} | arguments)), value, slopes, by_first)
    if "repulsion" not in arguments:
        assert output.counts.tolist() == [1, 1, 1, 1, 1, 0]
        torch.testing.assert_close(output.rows.sum() / 5, output.value.detach())


def test_views_of_images_as_in_the_paper():
    """Three views of each of two images; negatives are the other views of the other image, all alike."""
    _, comparison = compared([0, 0, 0, 1, 1, 1])
    other = torch.arange(6).unsqueeze(1) % 3 != torch.arange(6) % 3
    parts = CACRLoss(t_negative=0.0)(comparison, Pairs(comparison.positive, comparison.negative & other)).parts
    torch.testing.assert_close(parts["attraction"].item(), 2.029592370988, **EXACT)
    torch.testing.assert_close(parts["repulsion"].item(), -2.72, **EXACT)


def test_exponentials_below_the_smallest_number_leave_a_finite_value():
    z, comparison = compared([0, 1, 1, 0, 1, 0])
    output = CACRLoss(repulsion="rbf", t_rbf=1e4)(comparison, TripletBand())
    (gradient,) = torch.autograd.grad(output.value, z)
    assert output.value.isfinite()
    assert gradient.isfinite().all()
