"""Spectral decay of an embedding space ([RDML] arXiv:2002.08473): how many directions it uses."""

import torch
from torch import Tensor


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
