"""Proto-Triplet against a loop over samples and class means, and worked values."""

import pytest
import torch
from combinations import every
from loop_oracles import CASES, DTYPES, TOLERANCE, case, hold_form
from oracles import Account, agree, mean
from worked_examples import EXACT, LABELS, POINTS, compared, tensor

from metriscope.losses import ProtoTripletLoss
from metriscope.objectives.selection import TripletBand


def apart(a, b, eps):
    squared = ((a - b) ** 2).sum() + eps
    return squared.sqrt() if squared > 0 else squared * 0


def oracle(z, labels, number, margin, split=None, eps=0.0):
    """The first ``number`` samples may be queries."""
    by_class = {c: [i for i, label in enumerate(labels) if label == c] for c in labels if c >= 0}
    if split is not None:
        by_class = {c: some[:split] for c, some in by_class.items() if len(some) > 1}
    hinges = []
    for i in range(number):
        others = [k for k in by_class.get(labels[i], []) if k != i]
        left_out = i in by_class.get(labels[i], []) and split is not None
        rest = [c for c in by_class if c != labels[i]]
        if others and rest and not left_out:
            own = apart(z[i], torch.stack([z[k] for k in others]).mean(0), eps)
            nearest = min(
                (apart(z[i], torch.stack([z[k] for k in by_class[c]]).mean(0), eps) for c in rest),
                key=lambda d: d.item(),
            )
            hinges.append((own - nearest + margin).clamp_min(0))
    return Account(mean(hinges), sum(h.item() > 0 for h in hinges), len(hinges))


@every(name=CASES, dtype=DTYPES, arguments=((0.5, None), (0.1, None), (0.5, 1), (0.5, 2)))
def test_against_the_loop(name, dtype, arguments):
    z, comparison = case(name, dtype, "euclidean")
    output, leaf = ProtoTripletLoss(*arguments)(comparison, TripletBand()), z.detach().double().requires_grad_()
    past = comparison.references.embeddings[len(z) :].detach().double()
    wanted = oracle(torch.cat([leaf, past]), comparison.references.labels.tolist(), len(z), *arguments)
    found, expected = agree(output, z, wanted, leaf, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
    torch.testing.assert_close(found, expected, rtol=10 * TOLERANCE[dtype], atol=10 * TOLERANCE[dtype])


def test_form():
    hold_form(ProtoTripletLoss(), "euclidean")


def test_worked_example():
    z, comparison = compared()
    output = ProtoTripletLoss()(comparison, TripletBand())
    assert (int(output.terms), int(output.active)) == (5, 3)
    torch.testing.assert_close(output.value.item(), 0.273416008869, **EXACT)
    (gradient,) = torch.autograd.grad(output.value, z)
    wanted = tensor([(0, 0.057131629322), (-0.250403551695, -0.073034369244)])
    # The page goes through the normalisation of embeddings.
    tangents = gradient - (gradient * z).sum(1, keepdim=True) * z
    torch.testing.assert_close(tangents[[0, 2]].detach(), wanted, **EXACT)


@pytest.mark.parametrize(("split", "value"), [(None, 0.273415993123), (1, 0.283203947456)])
def test_worked_example_with_the_authors_distance(split, value):
    """They add 1e-6 to the square: the loop with it has their value, the loop without it that of the loss."""
    points = tensor(POINTS)
    torch.testing.assert_close(oracle(points, LABELS, 6, 0.5, split, 1e-6).value.item(), value, **EXACT)
    wanted = oracle(points, LABELS, 6, 0.5, split)
    output = ProtoTripletLoss(split=split)(compared()[1], TripletBand())
    torch.testing.assert_close(output.value.item(), wanted.value.item(), **EXACT)
    assert int(output.terms) == wanted.terms == (5 if split is None else 3)


def test_copies_of_one_sample_have_a_hinge_of_the_margin_and_no_gradient():
    z, comparison = compared([0, 0, 1, 1], points=tensor([(1, 0)] * 4))
    output = ProtoTripletLoss(0.25)(comparison, TripletBand())
    (gradient,) = torch.autograd.grad(output.value, z)
    assert output.value == 0.25
    assert not gradient.any()
