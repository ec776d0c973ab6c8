"""N-pair loss against a loop over the pairs of each class."""

import pytest
import torch
from combinations import every
from loop_oracles import CASES, DTYPES, TOLERANCE, balanced, case, hold_form, hold_library
from oracles import Account, agree, distance, mean
from pytorch_metric_learning import losses

from metriscope.objectives.losses.softmax.n_pair import NPairLoss
from metriscope.objectives.selection import TripletBand

TEMPERATURE = 0.5


def oracle(leaf, comparison, anchors):
    references = [*leaf, *comparison.references.embeddings[len(leaf) :].detach().double()]
    labels = comparison.references.labels.tolist()
    members = {y: [j for j, other in enumerate(labels) if other == y] for y in labels if y >= 0}
    members = {y: js for y, js in members.items() if len(js) > 1}
    terms = []
    for i, a in enumerate(leaf):
        if labels[i] not in members or len(members) < 2:
            continue
        place = members[labels[i]].index(i)
        if anchors == "first" and place > 0:
            continue
        s = {
            y: (1 - distance("cosine", a, references[js[(place + 1) % len(js)]])) / TEMPERATURE
            for y, js in members.items()
        }
        own = s.pop(labels[i])
        terms.append((1 + sum((other - own).exp() for other in s.values())).log())
    return Account(mean(terms), len(terms), len(terms))


@pytest.mark.parametrize("anchors", ["all", "first"])
@every(name=CASES, dtype=DTYPES)
def test_against_the_loop(name, dtype, anchors):
    z, comparison = case(name, dtype, "cosine")
    output = NPairLoss(TEMPERATURE, anchors)(comparison, TripletBand())
    leaf = z.detach().double().requires_grad_()
    tolerance = TOLERANCE[dtype]
    gradients = agree(output, z, oracle(leaf, comparison, anchors), leaf, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(*gradients, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("anchors", ["all", "first"])
def test_form(anchors):
    hold_form(NPairLoss(anchors=anchors))


def test_the_first_pairs_equal_the_library():
    z, labels = balanced(4, 3)
    hold_library(NPairLoss(anchors="first"), losses.NPairsLoss(), z, labels)
    shuffled = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    hold_library(
        NPairLoss(anchors="first"), losses.NPairsLoss(), z.detach()[shuffled].requires_grad_(), labels[shuffled]
    )
