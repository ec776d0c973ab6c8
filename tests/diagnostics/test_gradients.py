"""Gradient norms against their definition."""

import pytest
import torch
from torch import nn

from metriscope.diagnostics.gradients import embedding_norms, parameter_norm, parameter_norms

CPU = torch.device("cpu")


def parameters(*shapes, seed=0):
    source = torch.Generator().manual_seed(seed)
    found = []
    for shape in shapes:
        parameter = nn.Parameter(torch.zeros(shape))
        parameter.grad = torch.randn(shape, generator=source)
        found.append(parameter)
    return found


def length(gradients):
    return sum(float(x) ** 2 for g in gradients for x in g.flatten()) ** 0.5


def test_total_and_parts():
    trunk, head = parameters((3, 4), (5,)), parameters((2, 2), seed=1)
    found = parameter_norms({"trunk": trunk, "head": head, "loss": []}, CPU)
    wanted = {
        "grad_norm": length([p.grad for p in trunk + head]),
        "grad_norm_trunk": length([p.grad for p in trunk]),
        "grad_norm_head": length([p.grad for p in head]),
    }
    assert {name: float(value) for name, (value, _) in found.items()} == pytest.approx(wanted)
    assert all(count == 1.0 for _, count in found.values())


def test_parameters_without_a_gradient_count_nothing():
    parameter = nn.Parameter(torch.ones(3))
    assert float(parameter_norm([parameter], CPU)) == 0
    assert float(parameter_norm([], CPU)) == 0
    assert float(parameter_norm([parameter, *parameters((4,))], CPU)) == pytest.approx(
        length([p.grad for p in parameters((4,))])
    )


def test_norms_agree_with_autograd_through_a_network():
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    net(torch.randn(5, 3, generator=torch.Generator().manual_seed(0))).square().sum().backward()
    found = parameter_norms({"trunk": list(net[0].parameters()), "head": list(net[2].parameters())}, CPU)
    assert float(found["grad_norm"][0]) == pytest.approx(length([p.grad for p in net.parameters()]), rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_embedding_norms(dtype):
    rows = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)).to(dtype)
    active = torch.tensor([True, False, True, True, False, False])
    found = {name: float(n) / float(c) for name, (n, c) in embedding_norms(rows, active).items()}
    norms = [length([row]) for row in rows]
    wanted = {
        "grad_norm_embedding": sum(norms) / 6,
        "grad_norm_embedding_active": (norms[0] + norms[2] + norms[3]) / 3,
    }
    assert found == pytest.approx(wanted, rel=1e-5)


def test_no_active_sample():
    found = embedding_norms(torch.ones(3, 2), torch.zeros(3, dtype=torch.bool))
    assert [float(x) for x in found["grad_norm_embedding_active"]] == [0, 0]
