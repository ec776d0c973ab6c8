"""The row engine in whatever way torch runs it: without a graph, twice, in parts, checked."""

import torch
from combinations import every
from oracles import DISTANCES, embeddings
from row_losses import LOSSES, Halved, Softmax, Stretched, Threefold, judged, points
from row_oracles import LABELLED
from row_rules import CASES, B, agree, batch_and_memory, gradients, run

from metriscope.objectives.comparison import Comparison, Segment
from metriscope.objectives.kernels.rows import over_rows
from metriscope.objectives.samples import Samples
from metriscope.objectives.selection import TripletBand


@every(case=CASES, mode=(torch.no_grad, torch.inference_mode), weigh=(None, lambda losses, index: losses.square()))
def test_without_a_graph(case, mode, weigh):
    comparison, leaves = batch_and_memory(weigh=weigh)
    wanted = run(case, comparison, leaves)
    with mode():
        comparison, _ = batch_and_memory(weigh=weigh)
        found = over_rows(comparison, TripletBand(), case.rule, case.inputs)
        assert not any(total.requires_grad for total in found.totals)
        for k, total in enumerate(found.totals):
            torch.testing.assert_close(total, wanted[f"total {k}"], rtol=1e-12, atol=0)
        for name in ("losses", "active", "sizes", "valid"):
            assert torch.equal(getattr(found, name), wanted[name])


@every(loss=LOSSES)
def test_embeddings_without_a_gradient(loss):
    z, past = points()
    value = judged(loss, z.detach(), past).value
    assert value.requires_grad == any(p.requires_grad for p in loss.parameters())
    wanted, learned = judged(loss, z, past).value, list(loss.parameters())
    torch.testing.assert_close(value.detach(), wanted.detach(), rtol=1e-12, atol=0)
    for one, other in zip(gradients(value, learned), gradients(wanted, learned), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def check(judge, *leaves):
    assert torch.autograd.gradcheck(judge, leaves, eps=1e-6, atol=1e-6, rtol=1e-4, fast_mode=True)


@every(loss=LOSSES, distance=(*DISTANCES.values(), Halved, Threefold))
def test_gradcheck(loss, distance):
    z, past = points()
    check(lambda z, *_: judged(loss, z, past, distance()).value, z, *loss.parameters())
    check(lambda z, past: judged(loss, z, past, distance()).value, z, past.clone().requires_grad_())


@every(loss=LOSSES)
def test_gradcheck_of_a_learned_distance(loss):
    (z, past), distance = points(), Stretched()
    check(lambda z, *_: judged(loss, z, past, distance).value, z, distance.axes, *loss.parameters())


def test_a_learned_parameter_against_finite_differences():
    loss, (z, past) = Softmax(), points()
    (found,) = torch.autograd.grad(judged(loss, z, past).value, loss.temperature)
    values = []
    for step in (1e-5, -2e-5):
        with torch.no_grad():
            loss.temperature += step
        values.append(judged(loss, z, past).value.detach())
    torch.testing.assert_close((values[0] - values[1]) / 2e-5, found, rtol=1e-8, atol=1e-10)


@every(loss=LOSSES)
def test_one_graph_many_times(loss):
    z, past = points()
    value = judged(loss, z, past).value
    leaves = [z, *(p for p in loss.parameters() if p.requires_grad)]
    once = gradients(value, leaves)
    for leaf in leaves:
        leaf.grad = None
    for times in range(1, 5):
        value.backward(retain_graph=True)
        for leaf, one in zip(leaves, once, strict=True):
            torch.testing.assert_close(leaf.grad, times * one, rtol=1e-12, atol=1e-12)
    with torch.no_grad():
        z.grad.zero_()
    for one, other in zip(gradients(3 * value, leaves), once, strict=True):
        torch.testing.assert_close(one, 3 * other, rtol=1e-12, atol=1e-12)


@every(loss=LOSSES)
def test_embeddings_with_another_use(loss):
    z, past = points()
    (alone,) = gradients(judged(loss, z, past).value, [z])
    (twice,) = gradients(2 * judged(loss, z, past).value + judged(loss, 1 * z, past).value + z.square().sum(), [z])
    torch.testing.assert_close(twice, 3 * alone + 2 * z.detach(), rtol=1e-12, atol=1e-12)
    value = judged(loss, z, past).value
    (by_sum,) = gradients(value + value * value, [z])
    torch.testing.assert_close(by_sum, alone * (1 + 2 * value.detach()), rtol=1e-12, atol=1e-12)


@every(loss=LOSSES)
def test_gradients_accumulate(loss):
    z, past = points()
    halves = [judged(loss, z, past).value / 2, judged(loss, z, past.flip(0)).value / 2]
    (wanted,) = gradients(halves[0] + halves[1], [z])
    z.grad = None
    for half in halves:
        half.backward()
    torch.testing.assert_close(z.grad, wanted, rtol=1e-12, atol=1e-12)


@every(case=CASES, distance=DISTANCES)
def test_references_that_are_a_copy_of_the_anchors(case, distance):
    case = case.beside(B)
    found = []
    for copied in (False, True):
        z = embeddings(LABELLED)
        batch = Samples.of(z, torch.tensor(LABELLED), torch.arange(B))
        references = batch._replace(embeddings=z.clone(), labels=batch.labels.clone()) if copied else batch
        found.append(run(case, Comparison(batch, [Segment(references)], distance()), [z, *case.leaves]))
    agree(*found)
