"""Unified negative pair generation: a loop over samples, worked values, and its bases."""

import math

import pytest
import torch
from combinations import every
from loop_oracles import DTYPES, TOLERANCE, case
from oracles import LAYOUTS, agree, some_pairs
from oracles import Account as Wanted
from proxy_oracles import cosine
from worked_examples import CLASS_VECTORS, EXACT, compared, hold_example, tensor

from metriscope.errors import InputError
from metriscope.losses import ArcFaceLoss, CosFaceLoss, NormalizedSoftmaxLoss
from metriscope.objectives.losses.classes.unpg import UNPGLoss
from metriscope.objectives.selection import Pairs, TripletBand

ALL = TripletBand()


def build(**arguments):
    loss = UNPGLoss(3, 2, **({"scale": 4.0, "whisker": 0.25} | arguments)).double()
    with torch.no_grad():
        loss.proxies.copy_(tensor(CLASS_VECTORS))
    return loss


@pytest.mark.parametrize(
    ("arguments", "value", "slope", "by_first", "plain"),
    [
        ({"base": "cosface", "margin": 0.35}, 2.306283442085, 1.155465235978, 1.415062277756, 0.962656338208),
        ({"base": "arcface", "margin": 0.5}, 2.460081842582, 1.129049159433, 1.576154124694, 1.131168406097),
    ],
)
def test_worked_example(arguments, value, slope, by_first, plain):
    loss = build(**arguments)
    # An unordered pair counts once: here, as the anchor's that comes first. (1, 3) is too similar.
    output = hold_example(loss, value, {(0, 3): slope, (1, 3): 0.0, (3, 1): 0.0, (3, 0): 0.0}, by_first)
    assert 0 < output.parts["batch_mass"] < 1
    _, comparison = compared()
    nothing = Pairs(comparison.positive, torch.zeros_like(comparison.negative))
    torch.testing.assert_close(loss(comparison, nothing).value.item(), plain, **EXACT)


def test_slopes_by_class_vectors():
    loss = build(base="cosface", margin=0.35)
    z, comparison = compared()
    cosines = (z.detach() @ loss.proxies.detach().T).requires_grad_()
    loss.similarities = lambda comparison: cosines
    (by_class,) = torch.autograd.grad(loss(comparison, ALL).value, cosines)
    torch.testing.assert_close(by_class[0, :2].tolist(), [-0.554195433679, 0.056979837784], **EXACT)


def oracle(loss, leaf, comparison, negative):
    """One sample, class and pair at a time."""
    every = [*leaf, *comparison.references.embeddings[len(leaf) :].detach().double()]
    labels, number = comparison.anchors.labels.tolist(), len(leaf)
    either = negative.clone()
    either[:, :number] |= negative[:, :number].T
    pairs = [(i, j) for i, j in either.nonzero().tolist() if i < j]
    values = {pair: cosine(every[pair[0]], every[pair[1]]) for pair in pairs}
    ordered = sorted(float(v.detach()) for v in values.values())
    kept = list(values.values())
    if kept and loss.whisker is not None:
        q1, q3 = ordered[int(0.25 * len(kept))], ordered[int(0.75 * len(kept))]
        reach = loss.whisker * (q3 - q1)
        kept = [v for v in kept if q1 - reach <= float(v.detach()) <= q3 + reach]
    terms = []
    for x, y in zip(leaf, labels, strict=True):
        if 0 <= y < loss.num_classes:
            scores = [cosine(x, w) for w in loss.proxies]
            theta = scores[y].acos()
            scores[y] = (theta + loss.margin).cos()
            exponentials = [(loss.scale * s).exp() for s in [*scores, *kept]]
            terms.append(-(exponentials[y] / sum(exponentials)).log())
    value = torch.stack(terms).mean() if terms else leaf.sum() * 0
    return Wanted(value, len(terms), len(terms))


@every(name=[*LAYOUTS, "with a memory"], dtype=DTYPES, whisker=(0.5, None), some=(True, False))
def test_against_the_loop(name, dtype, whisker, some):
    torch.manual_seed(0)
    loss = UNPGLoss(6, 4, margin=0.2, scale=3.0, whisker=whisker).to(dtype)
    z, comparison = case(name, dtype, "cosine")
    chosen = some_pairs(comparison) if some else Pairs(comparison.positive, comparison.negative)
    output, leaf = loss(comparison, chosen if some else ALL), z.detach().double().requires_grad_()
    wanted = oracle(loss.double(), leaf, comparison, chosen.negative)
    tolerance = TOLERANCE[dtype]
    found, expected = agree(output, z, wanted, leaf, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(found, expected, rtol=10 * tolerance, atol=10 * tolerance)


BASES = {
    "arcface": (ArcFaceLoss, {"base": "arcface"}, {}),
    "cosface": (CosFaceLoss, {"base": "cosface", "margin": 0.35}, {}),
    "no margin": (NormalizedSoftmaxLoss, {"base": "cosface", "margin": 0.0}, {"temperature": 1 / 64}),
}


@pytest.mark.parametrize(("base", "arguments", "others"), BASES.values(), ids=BASES)
def test_without_negative_pairs_it_is_its_base(base, arguments, others):
    loss, plain = UNPGLoss(3, 2, **arguments).double(), base(3, 2, **others).double()
    plain.load_state_dict(loss.state_dict())
    for labels in ([1] * 6, [-1] * 6):
        z, comparison = compared(labels)
        values = [one(comparison, ALL).value for one in (loss, plain)]
        torch.testing.assert_close(*values, rtol=1e-14, atol=0)
        found, wanted = (torch.autograd.grad(v, [z, one.proxies]) for v, one in zip(values, (loss, plain), strict=True))
        torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-14)


@every(labels=([0, 1, -1, -1], [0, 1, 1, 1]), whisker=(0.0, None))
def test_one_pair_and_equal_pairs_are_kept(labels, whisker):
    z, comparison = compared(labels, points=tensor([(1, 0), (0, 1), (0, 1), (0, 1)]))
    output = build(whisker=whisker, base="cosface", margin=0.0)(comparison, ALL)
    known = [k for k, label in enumerate(labels) if label >= 0]
    denominators = (4 * z.detach()[known] @ tensor(CLASS_VECTORS).T).exp().sum(1)
    # Cosines of 0, as many as samples of the other class.
    pairs = len(known) - 1
    torch.testing.assert_close(output.parts["batch_mass"], (pairs / (pairs + denominators)).mean())


def test_a_cosine_margin_of_an_angle_is_refused():
    with pytest.raises(InputError, match=r"margin=3\.0: cosines are at most 2 apart"):
        UNPGLoss(3, 2, base="cosface", margin=3.0)
    assert UNPGLoss(3, 2, margin=3.0).margin <= math.pi
