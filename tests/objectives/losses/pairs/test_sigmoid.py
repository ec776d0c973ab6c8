import math

import pytest
import torch
from combinations import every
from row_oracles import (
    DTYPES,
    LABELLED,
    LAYOUTS,
    Account,
    fast,
    hold,
    mean,
    some_pairs,
)

from metriscope.losses import SigmoidLoss
from metriscope.objectives.distances.cosine import Cosine
from metriscope.objectives.selection import TripletBand

SCALE, BIAS = 3.0, -1.0


def build(scale=SCALE, bias=BIAS, dtype=torch.float64):
    """With a scale as exact as the dtype."""
    loss = SigmoidLoss(scale, bias).to(dtype)
    loss.log_scale.data.fill_(math.log(scale))
    return loss


def oracle(batch, scale=SCALE, bias=BIAS):
    terms = []
    for a in (a for a in range(len(batch.z)) if batch.positive[a] or batch.negative[a]):
        up = sum(-torch.sigmoid(scale * (1 - batch.distances[a][p]) + bias).log() for p in batch.positive[a])
        down = sum(-torch.sigmoid(-(scale * (1 - batch.distances[a][n]) + bias)).log() for n in batch.negative[a])
        terms.append(up + down)
    return Account(mean(terms), len(terms), len(terms))


@every(labels=LAYOUTS, dtype=DTYPES, memory=(False, True))
def test_layouts(labels, dtype, memory):
    hold(build(dtype=dtype), oracle, labels, "cosine", dtype, memory)


def test_of_mined_pairs():
    hold(build(), oracle, LABELLED, "cosine", torch.float64, pairs=some_pairs())


def test_by_hand():
    z, labels = torch.tensor([[1.0, 0], [1, 0], [0, 1], [0, 1]], dtype=torch.float64), torch.tensor([0, 0, 1, 1])
    loss = build(10, -10)
    assert all(
        a.item() == pytest.approx(b.item()) for a, b in zip(SigmoidLoss().parameters(), loss.parameters(), strict=True)
    )
    value = loss(z, labels, distance=Cosine())
    # Positives have the logit 0, negatives -10.
    assert value.item() == pytest.approx(math.log(2) + 2 * math.log1p(math.exp(-10)), rel=1e-12)
    value.backward()
    away = 1 / (1 + math.exp(10))
    assert loss.bias.grad.item() == pytest.approx(-0.5 + 2 * away, rel=1e-12)
    assert loss.log_scale.grad.item() == pytest.approx(-0.5 * 10, rel=1e-12)


def test_gradients_of_scale_and_bias():
    z = torch.randn(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    loss = build()
    comparison = fast(z.requires_grad_(), [0, 0, 0, 1, 1, 2], "cosine")
    output = loss(comparison, TripletBand())
    output.value.backward()
    s = comparison.similarities.detach()
    log_scale, bias = (p.detach().clone().requires_grad_() for p in (loss.log_scale, loss.bias))
    signs = comparison.positive.double() - comparison.negative.double()
    terms = -(signs * (log_scale.exp() * s + bias)).sigmoid().log() * (signs != 0)
    (terms.sum() / 6).backward()
    for own, wanted in ((loss.log_scale, log_scale), (loss.bias, bias)):
        torch.testing.assert_close(own.grad, wanted.grad)
    assert {key: round(part.item(), 9) for key, part in output.parts.items()} == {
        "sigmoid_scale": SCALE, "sigmoid_bias": BIAS
    }  # fmt: skip
