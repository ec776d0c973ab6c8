"""Group ordering constraints against a sorting network of matrices, and worked values."""

import math

import pytest
import torch
from combinations import every
from loop_oracles import CASES, DTYPES, case, hold, hold_form, hold_selected_pairs, mean_of
from oracles import gradient
from torch import nn
from worked_examples import EXACT, compared, hold_example, tensor

from metriscope.losses import GroCoLoss
from metriscope.objectives.distances.cosine import Cosine
from metriscope.objectives.kernels.sorting import chances_of_first
from metriscope.objectives.selection import TripletBand

WORKED = {
    "as in the paper": (
        {"negatives": 3},
        0.428431488850,
        {(0, 3): 0.017870013725, (0, 1): -0.009463611832, (3, 4): -0.023351378127},
        0.033707683218,
    ),
    "all move": ({"negatives": 3, "detach_references": False}, 0.428431488850, {}, 0.047552889250),
    "steep": ({"negatives": 2, "steepness": 5.0}, 0.517206277592, {(3, 4): -0.411142667233}, None),
}


def chances(sequence, steepness):
    """(n, n): the chance that an entry, by its row, lands on a rank."""
    n = len(sequence)
    product, values = torch.eye(n, dtype=sequence.dtype), sequence
    for layer in range(n):
        matrix = torch.eye(n, dtype=sequence.dtype)
        for a in range(layer % 2, n - 1, 2):
            keep = 0.5 + torch.atan(steepness * (values[a + 1] - values[a])) / math.pi
            block = torch.stack([torch.stack([keep, 1 - keep]), torch.stack([1 - keep, keep])])
            padding = nn.functional.pad(block - torch.eye(2, dtype=block.dtype), (a, n - a - 2, a, n - a - 2))
            matrix = matrix + padding
        values, product = matrix @ values, product @ matrix
    return product


def oracle_of(negatives, steepness, positives=None):
    @mean_of
    def oracle(row, pulls, pushes):
        near = sorted((row[j] for j in pushes), key=lambda s: s.item())[-negatives:]
        far = sorted((row[j] for j in pulls), key=lambda s: s.item())[:positives]
        low = chances(torch.stack(near + far), steepness)[:, : len(near)].sum(1)
        costs = [-low[j].log() if j < len(near) else -(1 - low[j]).log() for j in range(len(low))]
        return [torch.stack(costs).mean()]

    return oracle


@every(name=CASES, dtype=DTYPES, arguments=((3, 1.0, None), (2, 5.0, 1)))
def test_against_the_loop(name, dtype, arguments):
    hold(GroCoLoss(*arguments, detach_references=False), oracle_of(*arguments), name, dtype)


def test_selected_pairs_and_form():
    hold_selected_pairs(GroCoLoss(2, 3.0, detach_references=False), oracle_of(2, 3.0))
    hold_form(GroCoLoss(2))


@pytest.mark.parametrize(("arguments", "value", "slopes", "by_first"), WORKED.values(), ids=WORKED)
def test_worked_example(arguments, value, slopes, by_first):
    output = hold_example(GroCoLoss(**arguments), value, slopes, by_first)
    if arguments["negatives"] == 3:
        torch.testing.assert_close(output.rows[0].item(), 0.419102254075, **EXACT)


def test_chances_of_a_row_of_the_example_beside_a_shorter_one():
    row = torch.tensor([-0.96, 0, 0.6, 0.28, 0.8], dtype=torch.float64)
    short = torch.tensor([0.3, -0.2, 7, 7, 7], dtype=torch.float64)
    found = chances_of_first(torch.stack([row, short], 1), torch.tensor([5, 2]), torch.tensor([3, 1]), 1.0)
    wanted = tensor([(0.919046653, 0.839204773, 0.454309544, 0.522258404, 0.265180625)])[0]
    torch.testing.assert_close(found[:, 0], wanted, rtol=0, atol=6e-10)
    torch.testing.assert_close(found[:2, 1], chances(short[:2], 1.0)[:, 0])


@pytest.mark.parametrize(("steepness", "perfect", "alike"), [(1.0, 0.1397, 0.2509), (10.0, 0.0149, None)])
def test_the_floor_of_the_loss(steepness, perfect, alike):
    """Ten negatives and three positives of the anchors 0 to 3."""
    labels = torch.tensor([0] * 4 + [1] * 10)
    apart = torch.where(labels == 0, 1.0, -1.0).unsqueeze(1).double()
    for z, wanted in ((apart, perfect), (torch.ones_like(apart), alike)):
        if wanted is not None:
            output = GroCoLoss(10, steepness).account(z.requires_grad_(), labels, distance=Cosine())
            assert output.rows[:4].tolist() == pytest.approx([wanted] * 4, abs=6e-5)


def test_detached_references_leave_the_pull_on_anchors():
    z, comparison = case("with a memory", torch.float64, "cosine")
    found = gradient(GroCoLoss(2)(comparison, TripletBand()).value, z)
    leaf = z.detach().requires_grad_()
    others = torch.cat([z.detach(), comparison.references.embeddings[len(z) :].detach()])
    rows = 1 - Cosine()(leaf, others)
    oracle = oracle_of(2, 1.0)
    masks = comparison.positive, comparison.negative
    listed = [(row, *(mask[i].nonzero().flatten().tolist() for mask in masks)) for i, row in enumerate(rows)]
    torch.testing.assert_close(found, gradient(oracle(listed).value, leaf), rtol=1e-10, atol=1e-12)


def test_what_is_made_already_is_kept():
    _, comparison = compared()
    made = comparison.distances
    other = comparison.of_anchors()
    assert comparison.classes.own is comparison.anchors.labels
    assert other.block(slice(1, 3)).known.equal(made[1:3])
    assert not other.prepared[1].requires_grad
