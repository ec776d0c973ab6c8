import math

import numpy as np
import pytest
import torch

from metriscope.diagnostics.spectrum import second_moment, spectral_decay


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("count", [8, 50])
def test_equals_singular_values_of_the_matrix(dtype: torch.dtype, count: int) -> None:
    z = (torch.randn(count, 8, generator=torch.Generator().manual_seed(0)) * torch.arange(1, 9)).to(dtype)
    s = np.linalg.svd(z.double().numpy(), compute_uv=False)
    share = s / s.sum()
    expected = sum(1 / 8 * math.log((1 / 8) / p) for p in share)
    assert float(spectral_decay(second_moment(z))) == pytest.approx(expected, rel=1e-6)


def test_streams_over_batches_and_ignores_scale() -> None:
    z = torch.randn(50, 5, generator=torch.Generator().manual_seed(1))
    whole = spectral_decay(second_moment(z))
    parts = torch.stack([second_moment(part) for part in z.chunk(7)]).sum(0)
    assert float(spectral_decay(parts)) == pytest.approx(float(whole), rel=1e-9)
    assert float(spectral_decay(100 * parts)) == pytest.approx(float(whole), rel=1e-9)


def test_limits() -> None:
    assert float(spectral_decay(torch.eye(6))) == pytest.approx(0, abs=1e-12)
    assert float(spectral_decay(torch.zeros(4, 4))) == 0
    one_direction = spectral_decay(second_moment(torch.ones(10, 4)))
    assert torch.isfinite(one_direction)
    assert one_direction > spectral_decay(second_moment(torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0]])))
