"""Signatures of examples: small vectors that lie close together where two examples look alike.

A distance of signatures is half their squared Euclidean distance, under a root: 0 for the same signature, about 1 for
two examples that have nothing to do with one another. A signature of NaN is near nothing.
"""

import torch
import torch.nn.functional as F
from scipy.linalg import helmert
from torch import Tensor

SIDE = 16
"""Side of the grid on which the brightness of an image is kept; its colours are kept on one of half that side."""
THUMBNAIL = 2 * SIDE
"""Side of the square to which an image file is scaled before its signature is computed."""
FLAT = 1.0
"""Contrast in grey levels below which an image has no signature: only noise would be left of it."""


def image_signatures(images: Tensor) -> Tensor:
    """Signatures (B, D) float32 of images uint8 (B, C, H, W), unit vectors; NaN for images without contrast.

    They hold means over the cells of a grid: 16 x 16 of brightness, 8 x 8 of each colour contrast. Mean brightness and
    contrast are divided out, so that a copy that was encoded anew, scaled, brightened or darkened stays close, as far
    as no pixel was clipped; hues stay, so that the same car in two colours does not. The root of half the squared
    distance is sqrt(1 - r), where r is the correlation of two images.
    """
    channels = images.shape[1]
    basis = torch.ones(1, 1) if channels == 1 else torch.from_numpy(helmert(channels, full=True)).float()
    mixed = torch.einsum("kc,bchw->bkhw", basis, images.float())
    brightness = F.adaptive_avg_pool2d(mixed[:, :1], SIDE).flatten(1)
    colours = F.adaptive_avg_pool2d(mixed[:, 1:], SIDE // 2).flatten(1)
    # A cell of a colour covers four times the area.
    joint = torch.cat([brightness - brightness.mean(1, keepdim=True), 2 * colours], 1)
    norms = joint.norm(dim=1, keepdim=True)
    seen = norms >= FLAT * SIDE * channels**0.5
    return torch.where(seen, joint / norms, torch.nan)


def vector_signatures(vectors: Tensor) -> Tensor:
    """Signatures (N, F) float32 of vectors (N, F): moved to their mean, in units of their spread.

    Two vectors of the set have a mean squared distance of 2. Vectors with NaN or Inf get NaN.
    """
    finite = vectors.isfinite().all(1)
    known = vectors[finite].double()
    if len(known) == 0:
        return torch.full_like(vectors, torch.nan, dtype=torch.float32)
    mean = known.mean(0)
    spread = (known - mean).square().sum(1).mean().sqrt()
    moved = (vectors.double() - mean) / (spread if spread > 0 else 1)
    return torch.where(finite[:, None], moved, torch.nan).float()
