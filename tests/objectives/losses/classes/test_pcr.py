"""Proxy-based contrastive replay: loops over samples, worked values, and what it is equal to."""

import math

import pytest
import torch
from combinations import every
from loop_oracles import DTYPES, TOLERANCE
from oracles import Account, agree
from oracles import compare as compared
from proxy_oracles import CLASSES, LAYOUTS, SIZE, batch, compare, cosine
from worked_examples import EXACT, tensor

from metriscope.losses import NormalizedSoftmaxLoss
from metriscope.objectives.losses.classes.pcr import PCRLoss
from metriscope.objectives.selection import TripletBand

POINTS, WORKED_LABELS = [(1, 0), (0.8, 0.6), (0, 1), (-0.6, 0.8)], [0, 0, 0, 1]
WORKED = {
    "classes": (False, 1.23783493421, 0.0215822665, [[0, -0.3486934297], [0.1409205341, 0], [0, 0]]),
    "samples too": (True, 1.82174343587, -0.1419075755, [[0, -0.2114872239], [0.2426783213, 0], [0, 0]]),
}


@pytest.mark.parametrize(("samples", "value", "by_first", "by_vectors"), WORKED.values(), ids=WORKED)
def test_worked_example(samples, value, by_first, by_vectors):
    loss, z = PCRLoss(3, 2, 0.5, samples).double(), tensor(POINTS).requires_grad_()
    with torch.no_grad():
        loss.proxies.copy_(tensor([(1, 0), (0, 1), (-1, 0)]))
    found = loss(compare(z, WORKED_LABELS), TripletBand()).value
    by_z, by_proxies = torch.autograd.grad(found, [z, loss.proxies])
    torch.testing.assert_close(found.item(), value, rtol=0, atol=1e-11)
    # The cosine has no radial part.
    torch.testing.assert_close(by_z[0], torch.tensor([0, by_first], dtype=torch.float64), rtol=0, atol=1e-10)
    torch.testing.assert_close(by_proxies, tensor(by_vectors), rtol=0, atol=1e-10)


def oracle(loss, leaf, labels):
    known = [(x, y) for x, y in zip(leaf, labels, strict=True) if 0 <= y < CLASSES]
    terms = []
    for i, (x, y) in enumerate(known):
        # The vector of each sample's class, and every other sample.
        among = [(cosine(x, loss.proxies[c]), c) for _, c in known]
        if loss.samples:
            among += [(cosine(x, other), c) for j, (other, c) in enumerate(known) if j != i]
        every = sum((s / loss.temperature).exp() for s, _ in among).log()
        own = [s / loss.temperature for s, c in among if c == y]
        terms.append(every - sum(own) / len(own))
    value = torch.stack(terms).mean() if terms else leaf.sum() * 0
    return Account(value, len(terms), len(terms))


def build(samples, dtype=torch.float64):
    torch.manual_seed(1)
    return PCRLoss(CLASSES, SIZE, 0.2, samples).to(dtype)


@every(labels=LAYOUTS, dtype=DTYPES, samples=(False, True))
def test_against_the_loop(labels, dtype, samples):
    loss, z, tolerance = build(samples, dtype), batch(labels, dtype), TOLERANCE[dtype]
    output = loss(compare(z, labels), TripletBand())
    by_proxies = torch.autograd.grad(output.value, loss.proxies, retain_graph=True)[0].double()
    leaf, exact = z.detach().double().requires_grad_(), loss.double()
    wanted = oracle(exact, leaf, labels)
    found, expected = agree(output, z, wanted, leaf, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(found, expected, rtol=10 * tolerance, atol=10 * tolerance)
    (by_wanted,) = torch.autograd.grad(wanted.value, exact.proxies, allow_unused=True, materialize_grads=True)
    torch.testing.assert_close(by_proxies, by_wanted, rtol=10 * tolerance, atol=10 * tolerance)
    absent = [c for c in range(CLASSES) if c not in labels]
    assert not by_proxies[absent].any()


@pytest.mark.parametrize("labels", [[2] * 4, [2]])
def test_one_class_is_the_logarithm_of_its_size(labels):
    loss, z = build(False), batch(labels)
    value = loss(compare(z, labels), TripletBand()).value
    torch.testing.assert_close(value.item(), math.log(len(labels)), **EXACT)
    assert not any(gradient.any() for gradient in torch.autograd.grad(value, [z, loss.proxies]))


def test_in_balanced_batches_of_all_classes_it_is_the_normalized_softmax():
    """Up to the constant log n."""
    labels = [*range(CLASSES)] * 3
    loss, z = build(False), batch(labels)
    plain = NormalizedSoftmaxLoss(CLASSES, SIZE, temperature=0.2).double()
    plain.load_state_dict(loss.state_dict())
    found, wanted = (one(compare(z, labels), TripletBand()).value for one in (loss, plain))
    torch.testing.assert_close(found, wanted + math.log(3))
    by_found = torch.autograd.grad(found, [z, loss.proxies])
    by_wanted = torch.autograd.grad(wanted, [z, plain.proxies])
    torch.testing.assert_close(by_found, by_wanted, rtol=1e-12, atol=1e-14)


def test_a_compiled_graph_of_all_classes_and_samples():
    labels, loss = [0, 3, 3, -1, 99], build(samples=True)
    z = batch(labels)
    value = lambda: loss(compared(z, labels, "cosine"), TripletBand()).value  # noqa: E731
    torch._dynamo.reset()
    graphed, plain = torch.compile(value, backend="eager")(), value()
    torch.testing.assert_close(graphed, plain)
    for found, wanted in zip(*(torch.autograd.grad(v, [z, loss.proxies]) for v in (graphed, plain)), strict=True):
        torch.testing.assert_close(found, wanted)
