"""Continuously weighted contrastive loss against a loop over anchors, and worked values."""

import pytest
import torch
from combinations import every
from loop_oracles import DTYPES, TOLERANCE, anchors, case, hold_form
from oracles import LAYOUTS, Account, agree, embeddings, mean, some_pairs
from worked_examples import FEATURES, compared, hold_example, tensor

from metriscope.errors import InputError
from metriscope.losses import SupConLoss
from metriscope.objectives.comparison import Comparison, Segment
from metriscope.objectives.losses.softmax.cwcl import CWCLLoss
from metriscope.objectives.selection import Pairs, TripletBand

ALL = TripletBand()
WORKED = {
    "affinity alone": (
        {"use_labels": False},
        2.084978937465, {(0, 3): 0.046991255456, (0, 1): 0.054051918465}, -0.044560874343,
    ),
    "labels and affinity": (
        {"target_weight": 0.5},
        1.913247270144, {(0, 3): 0.068771558487, (3, 4): -0.034985762189}, 0.056090709551,
    ),
    "labels alone": ({"target_weight": 0.0}, 1.362378154022, {}, 0.278554766052),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "value", "slopes", "by_first"), WORKED.values(), ids=WORKED)
def test_worked_example(arguments, value, slopes, by_first):
    loss = CWCLLoss(0.5, affinity_temperature=None, **arguments)
    output = hold_example(loss, value, slopes, by_first, comparison=compared(affine=tensor(FEATURES)))
    # A single sample of a class has targets where others' samples are some.
    assert int(output.terms) == (5 if arguments.get("target_weight") == 0 else 6)


def with_features(name, dtype):
    z, comparison = case(name, dtype, "cosine")
    references = comparison.references
    features = embeddings(references.labels.tolist(), torch.float64, 3, seed=9).detach()
    samples = comparison.anchors._replace(affine=features[: len(z)])
    return z, Comparison(samples, [Segment(references._replace(affine=features))], comparison.distance)


def oracle(rows, features, loss):
    terms = []
    for i, (s, positives, negatives) in enumerate(rows):
        targets = {}
        for j in positives + negatives:
            a = torch.cosine_similarity(features[i], features[j], dim=0)
            likeness = (a + 1) / 2 if loss.affinity_temperature is None else ((a - 1) / loss.affinity_temperature).exp()
            targets[j] = likeness
            if loss.use_labels:
                targets[j] = torch.ones(()) if j in positives else loss.target_weight * likeness
        total = sum(targets.values())
        if total > 0:
            every = torch.stack([s[k] / loss.temperature for k in targets]).logsumexp(0)
            terms.append(-sum(w / total * (s[j] / loss.temperature - every) for j, w in targets.items()))
    return Account(mean(terms), len(terms), len(terms))


LOSSES = {
    "labels": CWCLLoss(0.2, 0.5),
    "affinity": CWCLLoss(0.2, affinity_temperature=None, use_labels=False),
    "no affinity": CWCLLoss(0.2, 0.0),
}


@every(name=[*LAYOUTS, "with a memory"], dtype=DTYPES, loss=LOSSES, some=(False, True))
def test_against_the_loop(name, dtype, loss, some):
    z, comparison = with_features(name, dtype)
    chosen = some_pairs(comparison) if some else Pairs(comparison.positive, comparison.negative)
    output, leaf = loss(comparison, chosen if some else ALL), z.detach().double().requires_grad_()
    features = comparison.references.affine
    wanted = oracle(anchors(comparison, leaf, "similarity", chosen), features, loss)
    tolerance = TOLERANCE[dtype]
    found, expected = agree(output, z, wanted, leaf, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


def test_form():
    hold_form(CWCLLoss(target_weight=0.0))


def test_without_affinity_it_is_supcon():
    z, comparison = with_features("few classes", torch.float64)
    found, wanted = (loss(comparison, ALL).value for loss in (CWCLLoss(0.2, 0.0), SupConLoss(0.2)))
    torch.testing.assert_close(found, wanted, rtol=1e-13, atol=0)
    by_found, by_wanted = (torch.autograd.grad(value, z, retain_graph=True)[0] for value in (found, wanted))
    torch.testing.assert_close(by_found, by_wanted, rtol=1e-12, atol=1e-14)


def test_without_a_trunk_it_says_so():
    assert CWCLLoss().affinity == CWCLLoss(target_weight=0.0, use_labels=False).affinity == "trunk"
    assert CWCLLoss(target_weight=0.0).affinity is None
    _, comparison = compared()
    with pytest.raises(InputError, match="some samples have no affinity"):
        CWCLLoss()(comparison, ALL)
