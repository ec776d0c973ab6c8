import pytest
import torch
from proxy_oracles import batch

from metriscope.unit import unit_rows


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_unit_agrees_with_division_by_the_norm(dtype: torch.dtype) -> None:
    rows = torch.randn(6, 5, dtype=dtype, requires_grad=True)
    weight = torch.randn(6, 5, dtype=dtype)
    (gradient,) = torch.autograd.grad((unit_rows(rows) * weight).sum(), rows)
    for i, row in enumerate(rows.detach()):
        length = row.dot(row).sqrt()
        direction = row / length
        torch.testing.assert_close(unit_rows(rows)[i].detach(), direction)
        expected = (weight[i] - direction * direction.dot(weight[i])) / length
        torch.testing.assert_close(gradient[i], expected)


def test_rows_without_direction_get_no_gradient() -> None:
    rows = torch.tensor([[0.0, 0.0], [1e-12, 0.0], [3.0, 4.0], [1e-4, 0.0]], requires_grad=True)
    out = unit_rows(rows)
    assert torch.equal(out.detach()[:2], torch.zeros(2, 2))
    torch.testing.assert_close(out.detach()[2:], torch.tensor([[0.6, 0.8], [1.0, 0.0]]))
    (gradient,) = torch.autograd.grad(out[:, 1].sum(), rows)
    assert torch.equal(gradient[:2], torch.zeros(2, 2))
    torch.testing.assert_close(gradient[3], torch.tensor([0.0, 1e4]))


def test_unit_rows_against_autograd():
    x = batch([0] * 6)
    assert torch.autograd.gradcheck(unit_rows, (x,))
    torch.testing.assert_close(unit_rows(x), torch.nn.functional.normalize(x, dim=1))
