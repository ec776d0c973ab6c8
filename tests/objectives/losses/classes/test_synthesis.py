"""Proxy synthesis: a worked value, every loss with class vectors beside its loop, and which pairs are drawn."""

import proxy_oracles
import pytest
import torch
from benchmarks.ranks import simulated
from combinations import every
from proxy_oracles import CASES, CLASSES, LAYOUTS, batch, build, gradients, vectors_of
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.functional import normalize

from metriscope.config.objective import shipped
from metriscope.errors import InputError
from metriscope.losses import ArcFaceLoss, NormalizedSoftmaxLoss, ProxyNCALoss, SoftTripleLoss, UNPGLoss
from metriscope.objectives.comparison import Comparison, Segment
from metriscope.objectives.distances.cosine import Cosine
from metriscope.objectives.losses.classes import synthesis
from metriscope.objectives.losses.classes.synthesis import Synthetic, draw
from metriscope.objectives.miners.bands import NoMiner
from metriscope.objectives.objective import Objective
from metriscope.objectives.samples import Moment, Samples, Spaces
from metriscope.objectives.selection import Pairs, TripletBand

WITH = {"ratio": 1.0, "alpha": 0.4}
NAMES = [
    "arcface", "cosface", "large_margin_softmax", "sphereface", "normalized_softmax", "proxy_nca", "proxy_nca++",
    "proxy_anchor", "soft_triple, one centre",
]  # fmt: skip


def seeded(seed=3):
    return torch.Generator().manual_seed(seed)


def compare(z, labels, seed=3):
    samples = Samples.of(z, torch.as_tensor(labels))
    return Comparison(samples, [Segment(samples)], Cosine(), Moment(generator=seeded(seed)))


def on_circle(degrees):
    angles = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return torch.stack([angles.cos(), angles.sin()], 1)


def test_worked_example(monkeypatch):
    """Each sample with the one before it, repeated pairs of classes too, as in the authors' code."""
    places = torch.arange(6)
    given = Synthetic(places, places.roll(1), torch.tensor(0.3, dtype=torch.float64), places >= 0)
    monkeypatch.setattr(synthesis, "draw", lambda *_: given)
    order = [0, 2, 4, 1, 3, 5]
    angles = torch.tensor([0.0, 30, 40, 80, 120, 200], dtype=torch.float64).deg2rad().requires_grad_()
    z = torch.stack([angles.cos(), angles.sin()], 1)[order]
    loss = NormalizedSoftmaxLoss(3, 2, temperature=0.2, synthesis=WITH).double()
    loss.proxies.data = on_circle([20, 60, 150])
    labels = torch.tensor([0, 0, 1, 1, 2, 2])[order]
    output = loss(compare(z, labels), None)
    assert int(output.terms) == 12
    assert output.value.item() == pytest.approx(1.491406989380, abs=2e-12)
    (found,) = torch.autograd.grad(output.value, angles)
    wanted = [0.0257720062, 0.1501175566, -0.2676045315, 0.3051247979, -0.4332585272, 0.0304150090]
    assert found.tolist() == pytest.approx(wanted, abs=1e-10)
    assert loss.eval()(compare(z.detach(), labels), None).value.item() == pytest.approx(0.257263116450, abs=2e-12)


@pytest.mark.parametrize("name", NAMES)
@every(labels=LAYOUTS, ratio=(1.0, 0.5))
def test_against_the_loop_with_further_samples_and_classes(name, labels, ratio, monkeypatch):
    z = batch(labels)
    loss = build(name, num_classes=CLASSES, synthesis={"ratio": ratio, "alpha": 0.4})
    output = loss(compare(z, labels), None)
    known = [0 <= y < CLASSES for y in labels]
    columns = torch.tensor([y if there else 0 for y, there in zip(labels, known, strict=True)])
    drawn = draw(columns, torch.tensor(known), CLASSES, ratio, 0.4, seeded())
    # A label that is no class of the loss stays none.
    classes = [y if there else -1 for y, there in zip(labels, known, strict=True)]
    rows, vectors = list(z), list(vectors_of(loss))
    for i, j, valid in zip(drawn.first.tolist(), drawn.second.tolist(), drawn.valid.tolist(), strict=True):
        if valid:

            def mixed(a, b):
                length = drawn.share * a.norm() + (1 - drawn.share) * b.norm()
                return length * normalize(drawn.share * a / a.norm() + (1 - drawn.share) * b / b.norm(), dim=0)

            rows.append(mixed(z[i], z[j]))
            vectors.append(mixed(vectors_of(loss)[labels[i]], vectors_of(loss)[labels[j]]))
            classes.append(len(vectors) - 1)
    monkeypatch.setattr(proxy_oracles, "CLASSES", len(vectors))
    wanted = CASES[name].oracle(torch.stack(rows), torch.stack(vectors), classes)
    assert (int(output.active), int(output.terms)) == (wanted.terms, wanted.terms)
    torch.testing.assert_close(output.value, wanted.value, rtol=1e-9, atol=1e-9)
    leaves = [z, *loss.parameters()]
    for found, expected in zip(gradients(output.value, leaves), gradients(wanted.value, leaves), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", NAMES)
def test_none_and_validation_change_no_bit_and_pairs_are_those_of_the_batch(name):
    labels = LAYOUTS["all classes"]
    z, plain = batch(labels), build(name)
    value = plain(compare(z, labels), None).value
    with_synthesis = build(name, synthesis=WITH)
    assert torch.equal(with_synthesis.eval()(compare(z, labels), None).value, value)
    output = with_synthesis.train()(compare(z, labels), None)
    assert not torch.equal(output.value, value)
    assert torch.equal(output.similarities, plain(compare(z, labels), None).similarities)
    (by_pairs,) = torch.autograd.grad(output.value, output.similarities)
    assert by_pairs.shape == (len(labels), CLASSES)
    assert by_pairs.any()


def test_pairs_are_of_two_classes_and_each_two_classes_are_paired_once():
    labels = torch.tensor([0] * 6 + [1] * 6 + [2] * 2 + [0])
    known = torch.tensor([True] * 14 + [False])
    shares = set()
    for seed in range(20):
        drawn = draw(labels, known, 3, 1.0, 0.4, seeded(seed))
        shares.add(float(drawn.share))
        assert 0 <= drawn.share <= 1
        drawn_pairs = list(zip(drawn.first.tolist(), drawn.second.tolist(), strict=True))
        kept = [pair for pair, valid in zip(drawn_pairs, drawn.valid.tolist(), strict=True) if valid]
        pairs = [(int(labels[i]), int(labels[j])) for i, j in kept]
        assert all(a != b for a, b in pairs)
        assert len(set(pairs)) == len(pairs) > 1
        assert all(14 not in pair for pair in kept)
        every_pair = {
            (int(labels[i]), int(labels[j])) for i, j in drawn_pairs if 14 not in (i, j) and labels[i] != labels[j]
        }
        assert set(pairs) == every_pair
    assert len(shares) == 20
    assert len(draw(labels, known, 3, 0.5, 0.4, seeded()).first) == 8


@every(labels=([], [1], [2, 2, 2], [-1, 7]))
def test_batches_that_give_no_pair(labels):
    loss, plain = NormalizedSoftmaxLoss(3, 4, synthesis=WITH), NormalizedSoftmaxLoss(3, 4)
    plain.load_state_dict(loss.state_dict())
    z, labels = batch([0] * len(labels), torch.float32), torch.tensor(labels, dtype=torch.int64)
    one, other = (x(compare(z, labels), None) for x in (loss, plain))
    torch.testing.assert_close(one.value, other.value)
    assert one.terms == other.terms


def test_opposite_and_equal_samples_stay_finite():
    loss = ProxyNCALoss(2, 2, synthesis=WITH)
    loss.proxies.data = torch.tensor([[1.0, 0], [-1, 0]])
    for points in ([(1, 0), (-1, 0)], [(0, 1), (0, 1)], [(0, 0), (0, 0)]):
        z = torch.tensor(points, dtype=torch.float32, requires_grad=True)
        output = loss(compare(z, [0, 1]), None)
        assert output.value.isfinite()
        assert all(x.isfinite().all() for x in gradients(output.value, [z, loss.proxies]))


def step(seed=3, ranks=None):
    torch.manual_seed(0)
    objective = Objective(Cosine(), NoMiner(), ArcFaceLoss(CLASSES, 4, scale=8.0, synthesis=WITH).double())
    z, labels = batch(LAYOUTS["all classes"]), torch.tensor(LAYOUTS["all classes"])
    samples = Spaces.of(z, labels).samples("embedding")
    comparison = objective.compare(samples, Moment(generator=seeded(seed)), ranks)
    value = objective.judge(comparison, objective.select(comparison)).output.value
    return [value.detach(), *torch.autograd.grad(value, [z, objective.loss.proxies])]


def test_a_step_depends_on_its_generator_alone():
    wanted = step()
    torch.rand(7)
    assert all(torch.equal(*pair) for pair in zip(step(), wanted, strict=True))
    assert not torch.equal(step(4)[0], wanted[0])
    for found in simulated(3, lambda ranks: step(ranks=ranks)):
        assert all(torch.equal(*pair) for pair in zip(found, wanted, strict=True))


def test_the_host_waits_for_nothing():
    """On a pretended GPU, whose numbers nobody may ask for."""
    loss = ArcFaceLoss(CLASSES, 4, synthesis=WITH)
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        z, labels = torch.empty(9, 4, device="cuda"), torch.zeros(9, dtype=torch.int64, device="cuda")
        output = loss.to("cuda")(compare(z, labels), None)
    assert output.value.device.type == output.terms.device.type == "cuda"


def test_unpg_puts_the_same_pairs_into_every_row():
    """Without a pair it is its base, synthetic classes and all."""
    loss, plain = (x(3, 4, scale=8.0, synthesis=WITH).double() for x in (UNPGLoss, ArcFaceLoss))
    plain.load_state_dict(loss.state_dict())
    labels = torch.tensor([0, 1, 2, 0])
    comparison = compare(batch(labels.tolist()), labels)
    pairs = Pairs(comparison.positive, comparison.negative & False)
    wanted = plain(compare(batch(labels.tolist()), labels), None).value
    torch.testing.assert_close(loss(comparison, pairs).value, wanted, rtol=1e-12, atol=0)
    with_pairs = loss(compare(batch(labels.tolist()), labels), TripletBand())
    assert with_pairs.similarities is None
    assert with_pairs.value > wanted


@pytest.mark.parametrize(
    "value", [{"ratio": 1.0}, {"ratio": 0.0, "alpha": 1.0}, {"ratio": 1.5, "alpha": 1.0}, {"ratio": 1, "alpha": -1.0}]
)
def test_what_is_no_synthesis_is_refused(value):
    with pytest.raises(InputError, match=r"synthesis=.*give ratio, above 0 and at most 1, and alpha, above 0, such as"):
        ArcFaceLoss(3, 2, synthesis=value)


def test_several_vectors_for_a_class_are_refused():
    with pytest.raises(InputError, match="centers_per_class=10: synthesis mixes one vector of each class: set it to 1"):
        SoftTripleLoss(3, 2, synthesis=WITH)


def test_every_loss_with_class_vectors_takes_it_but_one():
    """``pcr`` compares with the class vectors of the batch's samples, which synthetic samples are not."""
    of_classes = {name for name, part in shipped("loss").items() if hasattr(part, "compared")}
    taking = {name for name in of_classes if "synthesis" in shipped("loss")[name].__init__.__annotations__}
    assert of_classes - taking == {"pcr"}
    assert len(taking) == 10
