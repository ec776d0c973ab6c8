"""Mixtures: points that are no samples, each on the segment between two samples, as one anchor sees them."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from metriscope.objectives.block import measured
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.distances.base import precise
from metriscope.objectives.numerics import squares

# Rounding moves squared lengths of mixtures of unit vectors by less.
_LEAST_SQUARED_LENGTH = 1e-6


@dataclass(frozen=True)
class Mixtures:
    """At most S synthetic points of each anchor, l x + (1 - l) x', where x and x' are samples.

    What an anchor sees of a mixture follows from three similarities, with s_12 that of both ends: on the unit sphere,
    where the mixture is normalised again,

        s = (l s_a1 + (1 - l) s_a2) / sqrt(l^2 + (1 - l)^2 + 2 l (1 - l) s_12),

    and elsewhere s = l s_a1 + (1 - l) s_a2 + l (1 - l) (1 - s_12), with s = 1 - d^2 / 2 of the Euclidean distance d. So
    they cost O(B S) and the matrix of the comparison, O(B R); where both ends may be outside of the batch, O(B S D).

    A share of 0 or 1 is the end itself, to the bit.

    Attributes:
        first, second: (B, S) int64, the ends, as places among the references; in ``first`` -1 is the anchor itself.
        share: (B, S), l, the share of ``first``, from 0 to 1.
        valid: (B, S) bool, the entries that stand for a mixture.
        positive_weights, negative_weights: (B, S), how much each mixture counts as a positive and as a negative of the
            anchor: numbers of at least 0, detached, or bool for 1 and 0; None where none counts so.
        frozen: whether mixtures are constants, so that gradients reach the anchor alone.
        spherical: whether mixtures are L2-normalised again; where lengths do not matter they are in any case.
        in_batch: whether ``first`` is in the batch everywhere, whose similarities to ``second`` are known.
        positive: (B,) int64, the positive of each anchor, for losses of triplets; None for losses of pairs.
    """

    first: Tensor
    second: Tensor
    share: Tensor
    valid: Tensor
    positive_weights: Tensor | None = None
    negative_weights: Tensor | None = None
    frozen: bool = False
    spherical: bool = True
    in_batch: bool = True
    positive: Tensor | None = None

    def at(self, rows: slice) -> "Mixtures":
        """Those of some anchors."""
        names = ("first", "second", "share", "valid", "positive_weights", "negative_weights", "positive")
        columns = {name: getattr(self, name) for name in names}
        return replace(self, **{name: one[rows] for name, one in columns.items() if one is not None})

    @property
    def weighed(self) -> bool:
        """Whether some count by numbers."""
        return any(w is not None and w.dtype != torch.bool for w in (self.positive_weights, self.negative_weights))

    def terms(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """How much each counts as a positive and as a negative, (B, S), as numbers."""
        positive, negative = (
            torch.zeros_like(self.valid, dtype=dtype) if weights is None else weights.to(dtype) * self.valid
            for weights in (self.positive_weights, self.negative_weights)
        )
        return positive, negative

    def values(self, comparison: Comparison, of_distances: bool) -> Tensor:
        """(B, S) similarities of the anchors to their mixtures, or distances; attached to the graph."""
        with torch.autocast(comparison.anchors.embeddings.device.type, enabled=False):
            return self._values(comparison, of_distances)

    def _values(self, comparison: Comparison, of_distances: bool) -> Tensor:
        distance, on_sphere = comparison.distance, self._on_sphere(comparison)
        anchors, references = comparison.prepared
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            if of_distances:
                matrix = measured(distance, anchors, references)
            else:
                matrix = distance.similarities(anchors, references)
            own, to_second = self.first < 0, matrix.gather(1, self.second)
            to_first = matrix.gather(1, self.first.clamp_min(0))
            near, far = (distance.similarity(d) if of_distances else d for d in (to_first, to_second))
            between = self._between(comparison, matrix, of_distances)
            share, between = self.share.to(far.dtype), torch.where(own, far, between)
            rest, scale = 1 - share, _scale(share, between) if on_sphere else torch.ones_like(share)
            values = (share * torch.where(own, 1, near) + rest * far) * scale
            if not on_sphere:
                values = values + share * rest * (1 - between)
            if of_distances:
                tiny = torch.finfo(values.dtype).tiny
                values = distance.from_squared_euclidean((2 - 2 * values).clamp_min(tiny))
            # Computing loses digits, so each end keeps its own value.
            values = torch.where(share == 0, to_second, values)
            values = torch.where((share == 1) & ~own, to_first, values)
        if not self.frozen:
            return values
        pulls = self._pulls(comparison, scale, on_sphere)
        if of_distances:
            pulls = pulls * -distance.slope(values)
        return values + (pulls - pulls.detach())

    @torch.no_grad()
    def with_direction(self, comparison: Comparison) -> "Mixtures":
        """The same without mixtures of opposite samples that cancel each other, which have no direction."""
        if not self._on_sphere(comparison):
            return self
        matrix = comparison.distance.similarities(*comparison.prepared)
        far = matrix.gather(1, self.second)
        between = torch.where(self.first < 0, far, self._between(comparison, matrix, of_distances=False))
        length = _squared_length(self.share.to(far.dtype), between)
        return replace(self, valid=self.valid & (length > _LEAST_SQUARED_LENGTH))

    def distances(self, comparison: Comparison) -> Tensor:
        """(B, S) distances for losses of triplets: from the comparison's own matrix, which diagnostics look at.

        A share of 0 is the second end itself, which gets its gradient even where mixtures are constants.
        """
        d = comparison.distances
        to_second = d.gather(1, self.second)
        if self.frozen:
            return torch.where(self.share == 0, to_second, self.values(comparison, of_distances=True))
        to_first, between = d.gather(1, self.first), d[self.first, self.second]
        return comparison.distance.blend(to_first, to_second, between, self.share, self.spherical)

    def _on_sphere(self, comparison: Comparison) -> bool:
        return self.spherical or comparison.distance.directions

    def _between(self, comparison: Comparison, matrix: Tensor, of_distances: bool) -> Tensor:
        """(B, S) similarities of both ends; anything where the first is the anchor."""
        first = self.first.clamp_min(0)
        if not self.in_batch:
            _, rows = _rows(comparison)
            return 1 - (rows[first] - rows[self.second]).square().sum(2) / 2
        places = first * matrix.shape[1] + self.second
        found = matrix.flatten().index_select(0, places.flatten()).view_as(self.share)
        return comparison.distance.similarity(found) if of_distances else found

    def _pulls(self, comparison: Comparison, scale: Tensor, on_sphere: bool) -> Tensor:
        """(B, S), numbers whose slopes by the anchors are those of the similarities to constant mixtures."""
        anchors, references = _rows(comparison)
        products, share = anchors @ references.detach().T, self.share.to(scale.dtype)
        own = (anchors * anchors.detach()).sum(1, keepdim=True)
        to_first = torch.where(self.first < 0, own, products.gather(1, self.first.clamp_min(0)))
        pulls = (share * to_first + (1 - share) * products.gather(1, self.second)) * scale
        return pulls if on_sphere else pulls - squares(anchors).unsqueeze(1) / 2


def _scale(share: Tensor, between: Tensor) -> Tensor:
    """One over the length of l x + (1 - l) x' of unit vectors with these similarities."""
    length = _squared_length(share, between)
    return length.clamp_min(torch.finfo(length.dtype).eps).rsqrt()


def _squared_length(share: Tensor, between: Tensor) -> Tensor:
    rest = 1 - share
    return share.square() + rest.square() + 2 * share * rest * between


def _rows(comparison: Comparison) -> tuple[Tensor, Tensor]:
    """Anchors (B, D) and references (R, D) as they are mixed: unit rows where lengths do not matter."""
    if comparison.distance.directions:
        return comparison.prepared
    return precise(comparison.anchors.embeddings), precise(comparison.references.embeddings)


def mixtures_in(selection: object) -> Mixtures | None:
    """The mixtures for losses of pairs that a selection holds, or that it is; None where there are none."""
    if isinstance(selection, Mixtures):
        return None if selection.positive is not None else selection
    found = getattr(selection, "mixtures", None)
    return found if isinstance(found, Mixtures) else None
