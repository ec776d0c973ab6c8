"""Keys that softmax losses share: focal weights, smoothed targets, a learned temperature."""

import math

import pytest
import torch
from combinations import every
from oracles import embeddings
from row_oracles import DTYPES, LABELLED, LAYOUTS, Account, fast, hold, mean, some_pairs

from metriscope.errors import InputError
from metriscope.losses import InfoNCELoss, NPairLoss, SupConLoss
from metriscope.objectives.distances.cosine import Cosine
from metriscope.objectives.losses.softmax import n_pair
from metriscope.objectives.selection import Pairs, TripletBand
from metriscope.parts import arguments_of

# One positive for each anchor.
ANGLES, LABELS = [0.0, 30, 40, 80, 120, 200], torch.tensor([0, 0, 1, 1, 2, 2])
T = 0.3


def on_the_circle(loss):
    """The value, and its derivative by each angle."""
    angles = torch.tensor(ANGLES, dtype=torch.float64).deg2rad().requires_grad_()
    value = loss.double()(torch.stack([angles.cos(), angles.sin()], 1), LABELS, distance=Cosine())
    return value.item(), torch.autograd.grad(value, angles, retain_graph=True)[0].tolist(), value


def learned(loss, **keys):
    """With a temperature that is learned, as exact as the dtype."""
    one = loss(temperature=T, learn_temperature=True, **keys).double()
    one.log_scale.data.fill_(-math.log(T))
    return one


FOCAL = [0.0169878645, 0.4341174687, -0.4160224907, 0.3763242936, -0.7605926759, 0.3491855398]
DETACHED = [0.0130076014, 0.2829425668, -0.2692711539, 0.2606051362, -0.5384719438, 0.2511877933]
SMOOTH = [-0.1148111945, 0.6979436722, -1.1160759140, 1.1556407239, -1.3198057822, 0.6971084946]


@pytest.mark.parametrize("part", [SupConLoss, InfoNCELoss])
@pytest.mark.parametrize(
    ("keys", "value", "gradient"),
    [
        ({"temperature": 0.5, "focal": 1.0}, 0.780585482694, FOCAL),
        ({"temperature": 0.5, "focal": 1.0, "focal_detach": True}, 0.780585482694, DETACHED),
        ({"temperature": 0.2, "smoothing": 0.1}, 1.475620803169, SMOOTH),
    ],
)
def test_the_worked_examples(part, keys, value, gradient):
    found, by_angles, _ = on_the_circle(part(**keys))
    assert found == pytest.approx(value, abs=6e-13)
    assert by_angles == pytest.approx(gradient, abs=6e-11)


def test_the_worked_example_of_the_symmetric_loss():
    loss = NPairLoss(0.2, smoothing=0.1, learn_temperature=True)
    loss.double().log_scale.data.fill_(math.log(5))
    found, by_angles, value = on_the_circle(loss)
    assert found == pytest.approx(1.233314606365, abs=6e-13)
    wanted = [-0.2174782018, 0.3830197292, -0.8138724520, 1.3378759891, -1.3675022561, 0.6779571916]
    assert by_angles == pytest.approx(wanted, abs=6e-11)
    assert torch.autograd.grad(value, loss.log_scale)[0].item() == pytest.approx(0.814490640000, abs=6e-13)


def infonce(focal=0.0, smoothing=0.0):
    def oracle(batch):
        terms = []
        for a in batch.full_anchors:
            negatives = [batch.similarity(a, n) / T for n in batch.negative[a]]
            for p in batch.positive[a]:
                logits = torch.stack([batch.similarity(a, p) / T, *negatives])
                log_chances = logits.log_softmax(0)
                targets = torch.full_like(logits, smoothing / len(logits))
                targets[0] += 1 - smoothing
                terms.append(-(targets * log_chances).sum() * (1 - log_chances[0].exp()) ** focal)
        return Account(mean(terms), len(terms), len(terms))

    return oracle


def supcon(focal=0.0, smoothing=0.0):
    def oracle(batch):
        terms = []
        for a in batch.full_anchors:
            others = [*batch.positive[a], *batch.negative[a]]
            log_chances = torch.stack([batch.similarity(a, j) / T for j in others]).log_softmax(0)
            targets = torch.full_like(log_chances, smoothing / len(others))
            own = len(batch.positive[a])
            targets[:own] += (1 - smoothing) / own
            terms.append(-(targets * log_chances * (1 - log_chances.exp()) ** focal).sum())
        return Account(mean(terms), len(terms), len(terms))

    return oracle


PARTS = {"infonce": (InfoNCELoss, infonce), "supcon": (SupConLoss, supcon)}
KEYS = ({"focal": 0.5}, {"focal": 2.0}, {"smoothing": 0.1})


@every(name=("infonce", "supcon"), keys=(KEYS[0], KEYS[2]), labels=LAYOUTS, dtype=DTYPES)
def test_layouts(name, keys, labels, dtype):
    part, oracle = PARTS[name]
    hold(part(T, **keys), oracle(**keys), labels, "cosine", dtype, memory=dtype == torch.float64)


@every(name=("infonce", "supcon"), keys=KEYS)
def test_of_mined_pairs(name, keys):
    part, oracle = PARTS[name]
    hold(part(T, **keys).double(), oracle(**keys), LABELLED, "cosine", torch.float64, pairs=some_pairs())


def judged(loss, labels=LABELLED, selected=None):
    z = embeddings(labels)
    compared = fast(z, labels, "cosine")
    if selected is not None:
        weights = (selected(compared.shape) for _ in range(2))
        selected = Pairs(compared.positive, compared.negative, *weights)
    output = loss(compared, TripletBand() if selected is None else selected)
    return output, torch.autograd.grad(output.value, z, retain_graph=True)[0]


NEUTRAL = {"smoothing": 0.0, "learn_temperature": False}


@pytest.mark.parametrize(
    ("part", "keys"),
    [
        (SupConLoss, {"focal": 0.0, "focal_detach": False, **NEUTRAL}),
        (InfoNCELoss, {"focal": 0.0, "focal_detach": False, **NEUTRAL}),
        (NPairLoss, NEUTRAL),
        (NPairLoss, {"anchors": "first", **NEUTRAL}),
    ],
)
def test_neutral_values_change_no_bit(part, keys):
    neutral, plain = part(T, **keys), part(T, **({"anchors": keys["anchors"]} if "anchors" in keys else {}))
    (one, by_one), (other, by_other) = judged(neutral), judged(plain)
    assert torch.equal(one.value, other.value)
    assert torch.equal(by_one, by_other)
    assert one.parts == other.parts == {}
    assert neutral.state_dict() == plain.state_dict() == {}


@every(part=(SupConLoss, InfoNCELoss), keys=KEYS)
def test_weights_of_one_change_no_bit(part, keys):
    (one, by_one), (other, by_other) = judged(part(T, **keys)), judged(part(T, **keys), selected=torch.ones)
    assert torch.equal(one.value, other.value)
    assert torch.equal(by_one, by_other)


@pytest.mark.parametrize(
    ("part", "keys"),
    [
        (part, keys)
        for part in (SupConLoss, InfoNCELoss, NPairLoss)
        for keys in ({}, {"smoothing": 0.2}, {"focal": 1.0}, {"anchors": "first"})
        if keys.keys() <= arguments_of(part).keys()
    ],
)
def test_a_learned_temperature(part, keys):
    loss = learned(part, **keys)
    (output, gradient), (fixed, by_fixed) = judged(loss), judged(part(T, **keys))
    torch.testing.assert_close(output.value, fixed.value, rtol=1e-12, atol=0)
    torch.testing.assert_close(gradient, by_fixed, rtol=1e-10, atol=1e-12)
    assert output.parts["temperature"].item() == pytest.approx(T)
    (slope,) = torch.autograd.grad(output.value, loss.log_scale)
    step = 1e-5
    high, low = (judged(part(T * math.exp(-by), **keys))[0].value for by in (step, -step))
    assert slope.item() == pytest.approx((high - low).item() / 2 / step, rel=1e-7)


def test_the_first_pairs_with_smoothed_targets_are_the_masked_ones(monkeypatch):
    loss = learned(NPairLoss, anchors="first", smoothing=0.2)
    output, gradient = judged(loss)
    monkeypatch.setattr(n_pair, "_may_look", lambda comparison: False)
    masked, by_masked = judged(loss)
    torch.testing.assert_close(output.value, masked.value, rtol=1e-12, atol=0)
    torch.testing.assert_close(gradient, by_masked, rtol=1e-10, atol=1e-12)


@every(part=(SupConLoss, InfoNCELoss), focal=(0.3, 1.0, 2.5), detach=(None, True))
def test_solved_pairs_have_neither_loss_nor_slope(part, focal, detach):
    z = torch.tensor([[1.0, 0], [1, 0], [-1, 0], [-1, 0]], requires_grad=True)
    loss = part(0.005, focal, focal_detach=detach)
    value = loss(z, torch.tensor([0, 0, 1, 1]), distance=Cosine())
    value.backward()
    assert value == 0
    assert not z.grad.any()


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (
            lambda: SupConLoss(focal=1.0, smoothing=0.1),
            "^focal=1.0: focal weights are those of a single target",
        ),
        (lambda: InfoNCELoss(focal_detach=True), "^focal_detach=true: there are no focal weights to hold fixed; set f"),
        (lambda: NPairLoss(smoothing=1.0), "^smoothing=1.0: it has to be"),
    ],
)
def test_what_does_not_fit_is_one_line(call, line):
    with pytest.raises(InputError, match=line):
        call()
