import pytest
import torch
from combinations import every
from oracles import LAYOUTS, compare
from pytorch_metric_learning import losses as peers

from metriscope.losses import VICRegLoss
from metriscope.objectives.samples import Samples
from metriscope.objectives.selection import TripletBand

KEYS = {"invariance_weight": 2.0, "variance_weight": 3.0, "covariance_weight": 0.5, "target": 0.9, "epsilon": 0.01}


def points(count, size=4):
    source = torch.Generator().manual_seed(count)
    return (0.4 * torch.randn(count, size, dtype=torch.float64, generator=source)).requires_grad_()


def oracle(z, labels):
    n, size = z.shape
    columns = [z[:, d] - z[:, d].mean() for d in range(size)]
    cov = [[(columns[d] * columns[e]).sum() / (n - 1) for e in range(size)] for d in range(size)]
    spread = sum((0.9 - (cov[d][d] + 0.01).sqrt()).clamp_min(0) for d in range(size)) / size
    between = sum(cov[d][e] ** 2 for d in range(size) for e in range(size) if d != e) / size
    first = {i: next((j for j in range(n) if j != i and labels[j] == labels[i]), None) for i in range(n)}
    apart = [((z[i] - z[j]) ** 2).mean() for i, j in first.items() if j is not None]
    return 2 * sum(apart) / max(1, len(apart)) + 3 * spread + 2 * 0.5 * between


@every(labels=LAYOUTS)
def test_layouts(labels):
    z = points(len(labels))
    output = VICRegLoss(**KEYS)(compare(z, labels), TripletBand())
    (found,) = torch.autograd.grad(output.value, z)
    if len(labels) == 1:
        assert output.value == 0
        assert int(output.terms) == 0
        return
    wanted = oracle(z, labels)
    torch.testing.assert_close(output.value, wanted, rtol=1e-12, atol=0)
    torch.testing.assert_close(found, torch.autograd.grad(wanted, z)[0], rtol=1e-10, atol=1e-12)
    assert sum(output.parts.values()).item() == pytest.approx(output.value.item())
    assert int(output.active) == int(output.terms) == len(labels)


def test_equal_to_pytorch_metric_learning_for_two_samples_of_each_class():
    z, labels, partners = points(6), torch.tensor([0, 1, 2, 1, 2, 0]), torch.tensor([5, 3, 4, 1, 2, 0])
    value, wanted = VICRegLoss()(z, labels), peers.VICRegLoss()(z, ref_emb=z[partners])
    torch.testing.assert_close(value, wanted, rtol=1e-9, atol=0)
    found, expected = (torch.autograd.grad(one, z)[0] for one in (value, wanted))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_a_positive_of_a_memory_pulls():
    z, labels = points(3), torch.tensor([0, 1, 2])
    past = Samples.of(torch.ones(2, 4, dtype=torch.float64), torch.tensor([2, -1]))
    loss = VICRegLoss(variance_weight=0, covariance_weight=0, invariance_weight=1)
    assert loss(z, labels) == 0
    torch.testing.assert_close(loss(z, labels, references=past), (z[2] - 1).square().mean())


def test_blocks_of_anchors_change_nothing():
    z, labels = points(9), torch.tensor([0, 1, 2, 1, 2, 0, 0, 3, 1])
    assert torch.equal(VICRegLoss()(z, labels, memory_mb=0.0006), VICRegLoss()(z, labels))
