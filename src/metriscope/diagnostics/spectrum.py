"""The spectrum of an embedding space: how many directions it uses, and how much each of them varies.

All figures are made from the second moment (D, D) and the mean of the set, which are summed batch by batch: O(N D^2)
time and O(D^2) memory for N samples, never N x N.
"""

import torch
from torch import Tensor

# Rows of equal float32 numbers differ by less once they are scaled to unit length.
_POINT = 1e-14


def second_moment(z: Tensor) -> Tensor:
    """The sum (D, D) of z_i z_i^T of a batch (B, D), in float64; the sums of batches and processes can be added."""
    z = z.detach().double()
    return z.T @ z


def spectral_decay(moment: Tensor) -> Tensor:
    """KL divergence, in nats, between the uniform distribution and the normalised singular values.

    rho = KL(U || s / sum(s)), with s the D singular values of the (N, D) embedding matrix, not centred
    ([RDML]'s rho with the largest value kept). 0 means that all directions carry the same weight; larger values mean
    that fewer directions carry it.

    The singular values are the square roots of the eigenvalues of the second moment, which is summed batch by batch and
    does not depend on the device. They resolve down to about 1e-8 of the largest; smaller ones, such as those of unused
    directions, are raised to that bound, so rho stays finite.

    Args:
        moment: (D, D) float64, the sum of z_i z_i^T; its scale does not matter.

    Returns:
        A scalar; 0 for a moment of zeros.
    """
    values = torch.linalg.eigvalsh(moment.double()).clamp(min=0).sqrt()
    largest = values.max()
    values = torch.where(largest > 0, values.clamp(min=largest * torch.finfo(torch.float64).eps ** 0.5), 1.0)
    share = values / values.sum()
    return -(share * len(share)).log().mean()


def covariance(moment: Tensor, mean: Tensor, count: Tensor | int) -> Tensor:
    """The covariance (D, D) of N samples, divided by N: ``moment / N`` less the outer product of the mean with itself.

    Embeddings are float32: a set whose variance is below 1e-14 of its mean squared length lies at one point, and its
    covariance is 0. O(D^2) time.

    Args:
        moment: (D, D) float64, the sum of z_i z_i^T.
        mean: (D,) float64, of all samples.
        count: N, at least 1.
    """
    whole = moment / count
    centred = whole - mean[:, None] * mean
    return torch.where(centred.trace() > _POINT * whole.trace(), centred, 0.0)


def participation_ratio(covariance: Tensor) -> Tensor:
    """How many directions carry the variance: (sum e)^2 / sum e^2 of the eigenvalues e of the covariance.

    D where all directions vary alike, 1 where one alone varies, 0 where nothing does. Unlike :func:`spectral_decay` it
    is centred, and hardly sees directions that vary little. It measures how features are weighted in the study of
    projection heads (arXiv:2403.11391); of that paper only the abstract and the code of the head were read, so that it
    has this ratio itself was not verified.

    The sums are the trace of the covariance and the sum of the squares of its entries, so that no eigenvalue is
    computed: O(D^2) time.

    >>> float(participation_ratio(torch.diag(torch.tensor([2.0, 2.0, 0.0]))))
    2.0

    Args:
        covariance: (D, D); its scale does not matter.

    Returns:
        A scalar.
    """
    total, squares = covariance.trace().square(), covariance.square().sum()
    return torch.where(squares > 0, total / squares, 0.0)


def weighting_profile(covariance: Tensor, count: Tensor | int) -> Tensor:
    """The singular values (D,) of the centred embedding matrix (N, D), the largest first.

    They are sqrt(N e) of the eigenvalues e of the covariance, and resolve down to 1e-8 of the largest, as those of
    :func:`spectral_decay` do. O(D^3) time.

    Args:
        covariance: (D, D) float64, divided by N.
        count: N.
    """
    values: Tensor = torch.linalg.eigvalsh(covariance).clamp(min=0)
    return (values * count).sqrt().flip(0)
