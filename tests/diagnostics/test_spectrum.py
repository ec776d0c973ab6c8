import math

import numpy as np
import pytest
import torch

from metriscope.diagnostics.spectrum import (
    covariance,
    participation_ratio,
    second_moment,
    spectral_decay,
    weighting_profile,
)
from metriscope.models.heads import ReweightHead

Z4 = torch.tensor([[1, 0], [0.8, 0.6], [0, 1], [-0.6, 0.8]], dtype=torch.float64)


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


def covariance_of(z: torch.Tensor) -> torch.Tensor:
    return covariance(second_moment(z), z.double().mean(0), len(z))


@pytest.mark.parametrize(
    ("kappa", "eigenvalues", "ratio"),
    [(1, (0.05, 0.5), 1.1980198020), (2, (0.0145186306, 0.4304813694), 1.0673763644)],
)
def test_participation_of_four_points_and_of_weighted_ones(kappa, eigenvalues, ratio) -> None:
    found = covariance_of(ReweightHead(2, kappa=float(kappa))(Z4))
    assert torch.linalg.eigvalsh(found).tolist() == pytest.approx(eigenvalues, abs=1e-10)
    assert float(participation_ratio(found)) == pytest.approx(ratio, abs=1e-10)
    assert weighting_profile(found, 4).tolist() == pytest.approx([(4 * e) ** 0.5 for e in eigenvalues[::-1]], rel=1e-8)


def test_participation_and_profile_equal_those_of_the_centred_matrix() -> None:
    z = 3 + torch.randn(40, 6, generator=torch.Generator().manual_seed(2)).double() * torch.arange(1, 7)
    s = np.linalg.svd((z - z.mean(0)).numpy(), compute_uv=False)
    assert weighting_profile(covariance_of(z), 40).tolist() == pytest.approx(s.tolist(), rel=1e-9)
    assert float(participation_ratio(covariance_of(z))) == pytest.approx((s**2).sum() ** 2 / (s**4).sum(), rel=1e-9)


def test_limits_of_participation() -> None:
    assert float(participation_ratio(torch.eye(6))) == pytest.approx(6)
    assert float(participation_ratio(torch.diag(torch.tensor([4.0, 0, 0])))) == 1
    point = torch.nn.functional.normalize(torch.randn(1, 5), dim=1).expand(30, 5)
    assert float(participation_ratio(covariance_of(point))) == 0
    assert weighting_profile(covariance_of(point), 30).tolist() == [0] * 5
    assert float(participation_ratio(covariance_of(torch.zeros(3, 4)))) == 0
