"""Lengths of embeddings in a curved space, and how hyperbolic features are."""

import torch
from torch import Tensor

from metriscope.errors import InputError
from metriscope.evaluation.search.curved import Curved

SAMPLE = 512  # rows that delta is computed of: time grows with the third power


def mean_radius(embeddings: Tensor, space: Curved | None = None) -> float:
    """The mean length of embeddings (N, D), those longer than the clip of the space counted at its length."""
    lengths = torch.linalg.vector_norm(embeddings.detach().double(), dim=1)
    clip = None if space is None else space.clip
    return float((lengths if clip is None else lengths.clamp_max(clip)).mean())


def clipped_share(embeddings: Tensor, space: Curved | None = None) -> float:
    """The share of embeddings (N, D) longer than the clip of the space; 0 without a clip."""
    if space is None or space.clip is None:
        return 0.0
    return float((torch.linalg.vector_norm(embeddings.detach().double(), dim=1) > space.clip).double().mean())


def delta_hyperbolicity(features: Tensor, sample: int = SAMPLE) -> float:
    """Gromov's delta over half of the diameter, 2 delta / diameter, of features (N, D): 0 for a tree, up to 1.

    delta = max over pairs of (A (x) A - A)_ij with (A (x) A)_ij = max_k min(A_ik, A_kj), the max-min product of the
    Gromov products A_ij = (d_0i + d_0j - d_ij) / 2 at the first row, d Euclidean; ``delta.py`` of arXiv:2203.10833.

    Args:
        features: (N, D).
        sample: of more rows so many are taken, evenly spaced.

    Raises:
        InputError: fewer than two different rows.
    """
    rows = features.detach().double()
    if len(rows) > sample:
        rows = rows[torch.linspace(0, len(rows) - 1, sample, device=rows.device).round().long()]
    d = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist") if len(rows) else rows.new_zeros(1, 1)
    diameter = float(d.max())
    if not diameter > 0:
        raise InputError(f"{len(features)} features, all equal or none: hyperbolicity needs two different ones")
    products = (d[:1].T + d[:1] - d) / 2
    delta = max(float((torch.minimum(row, products).amax(1) - row).max()) for row in products)
    return 2 * delta / diameter


def suggested_curvature(features: Tensor, sample: int = SAMPLE) -> float:
    """c = (0.144 / delta_rel)^2 of features (N, D), a value for ``distance.curvature``; arXiv:2203.10833.

    Raises:
        InputError: fewer than two different rows, or features of a tree, which have no finite curvature.

    >>> import torch
    >>> round(suggested_curvature(torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])), 4)
    0.0604
    """
    delta = delta_hyperbolicity(features, sample)
    if delta < 1e-9:
        raise InputError("the features are those of a tree (delta = 0): choose a curvature yourself")
    return (0.144 / delta) ** 2
