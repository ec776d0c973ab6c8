"""Points that are searched: embeddings moved near the origin in float64, beside the numbers that were given."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from metriscope.errors import RunError
from metriscope.evaluation.search.curved import Curved
from metriscope.evaluation.search.workers import of_blocks

# Numbers that are looked at in float64 at a time: on a CPU they stay in its cache.
NUMBERS = {"cpu": 2**18}
NUMBERS_ELSEWHERE = 2**22


class Points(NamedTuple):
    """A set of points, possibly followed by padding that lies infinitely far away."""

    rows: Tensor
    """(N, D) float32, moved."""
    half: Tensor
    """(N, 1) float32, half the squared norms of these rows."""
    places: Tensor
    """(N,) where each point stands in ``given``; 0 for padding."""
    given: Tensor
    """(M, D) embeddings as they were given."""
    digests: Tensor
    """(M,) int64, the same number for two given rows of the same bits."""
    factors: Tensor | None = None
    """(N, 1) float32, what distances are multiplied by, for both points of a pair; None for 1."""

    def take(self, index: Tensor | slice) -> "Points":
        """The points at these positions."""
        factors = None if self.factors is None else self.factors[index]
        return self._replace(rows=self.rows[index], half=self.half[index], places=self.places[index], factors=factors)


def points(embeddings: Tensor, name: str, centre: Tensor | None = None, factors: Tensor | None = None) -> Points:
    """Points of (N, D) embeddings.

    Args:
        centre: (D,) float64, what is subtracted; None for nothing.
        factors: of the points; see :class:`Points`.

    Raises:
        RunError: naming ``name``, for embeddings that are not finite or too large to be squared in float32.
    """
    given = embeddings.detach()
    rows = given.float()
    half = _checked_half(rows, name)
    if centre is not None and centre.any():
        rows = torch.cat(of_blocks(_blocks(given), lambda block: (block.double() - centre).float()))
        half = _checked_half(rows, name)
    digests = torch.cat(of_blocks(_blocks(given), _digests))
    return Points(rows, half, torch.arange(len(given), device=given.device), given, digests, factors)


class Prepared(NamedTuple):
    """A gallery as points, with the origin that they were moved to."""

    points: Points
    centre: Tensor
    """(D,) float64."""
    space: Curved | None = None
    """Where it lies; None for a Euclidean space."""

    def __len__(self) -> int:
        return len(self.points.given)


def prepared(gallery: Tensor, space: Curved | None = None) -> Prepared:
    """A gallery (N, D) of embeddings, in a space if that is not Euclidean, for one search or for many.

    Raises:
        RunError: embeddings that are not finite, or too large to be squared in float32.
    """
    rows, factors = _of_space(gallery, space)
    centre = _centre(rows)
    return Prepared(points(rows, "gallery", centre, factors), centre, space)


def _of_space(embeddings: Tensor, space: Curved | None) -> tuple[Tensor, Tensor | None]:
    return (embeddings, None) if space is None else space.points(embeddings)


def both_points(
    queries: Tensor | None, gallery: Tensor | Prepared, space: Curved | None = None
) -> tuple[Points, Points]:
    """Queries and gallery as points with one origin; the same object where there are no queries of their own."""
    right, centre, space = gallery if isinstance(gallery, Prepared) else prepared(gallery, space)
    if queries is None:
        return right, right
    rows, factors = _of_space(queries, space)
    return points(rows, "query", centre, factors), right


def _centre(embeddings: Tensor) -> Tensor:
    """The mean (D,) in float64, rounded to the power of two below the spread.

    Subtracting a number with few digits is exact for most embeddings, and ties stay ties.
    """
    first = embeddings[:1].detach().double()
    if len(embeddings) == 0:
        return first.new_zeros(embeddings.shape[1])

    def sums(block: Tensor) -> Tensor:
        moved = block.double() - first
        return torch.stack([moved.sum(0), moved.square().sum(0)])

    total, squares = torch.stack(of_blocks(_blocks(embeddings.detach()), sums)).sum(0)
    mean = total / len(embeddings)
    spread = (squares / len(embeddings) - mean.square()).mean().clamp(min=0).sqrt()
    if not spread.isfinite() or spread == 0:
        return first[0].nan_to_num(0, 0, 0)
    step = spread.log2().floor().exp2()
    centre: Tensor = ((first[0] + mean) / step).round() * step
    return centre


def _blocks(rows: Tensor) -> Sequence[Tensor]:
    return torch.split(rows, max(NUMBERS.get(rows.device.type, NUMBERS_ELSEWHERE) // max(rows.shape[1], 1), 1))


def _checked_half(rows: Tensor, name: str) -> Tensor:
    half = torch.cat(of_blocks(_blocks(rows), lambda block: block.double().square().sum(1, keepdim=True).float() / 2))
    bad = int((~half.isfinite()).sum())
    if bad:
        raise RunError(f"{bad} of {len(half)} {name} embeddings are not finite or too large for float32")
    return half


def _digests(rows: Tensor) -> Tensor:
    """Sums of the rows' bits with odd weights (n,), modulo 2^64."""
    bits = rows.contiguous().view({2: torch.int16, 4: torch.int32, 8: torch.int64}[rows.element_size()]).long()
    bits = bits ^ (bits >> 32)
    source = torch.Generator().manual_seed(0)
    weights = torch.randint(-(2**62), 2**62, (rows.shape[1],), generator=source).to(rows.device) * 2 + 1
    return (bits * weights).sum(1)
