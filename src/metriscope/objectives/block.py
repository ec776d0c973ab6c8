"""Some anchors of a comparison with all references, as the row engine and miners look at them."""

from collections.abc import Callable

import torch
from torch import Tensor

from metriscope.errors import InputError
from metriscope.objectives.distances.base import Distance


class Block:
    """Some anchors with all references, detached; a matrix (r, R) is made when it is first asked for.

    Args:
        rows: the anchors, with first and last position given.
        anchors, references: (r, D) and (R, D), prepared.
        distance: how they are compared.
        find_masks: makes the masks of positives and negatives.
        distances: (r, R), where they are known already.
    """

    def __init__(
        self,
        rows: slice,
        anchors: Tensor,
        references: Tensor,
        distance: Distance,
        find_masks: Callable[[], tuple[Tensor, Tensor]],
        distances: Tensor | None = None,
    ) -> None:
        self.rows = rows
        self.anchors = anchors.detach()
        self.references = self.anchors if references is anchors else references.detach()
        self.distance = distance
        self._find_masks = find_masks
        self._distances = None if distances is None else distances.detach()
        self._similarities: Tensor | None = None
        self._masks: tuple[Tensor, Tensor] | None = None

    @property
    def distances(self) -> Tensor:
        """(r, R)."""
        if self._distances is None:
            with torch.no_grad():
                self._distances = measured(self.distance, self.anchors, self.references)
        return self._distances

    @property
    def known(self) -> Tensor | None:
        """The distances (r, R) if somebody has asked for them."""
        return self._distances

    @property
    def similarities(self) -> Tensor:
        """(r, R) cosine similarities. That somebody else has asked for distances changes no bit of them."""
        if self._similarities is None:
            distance = self.distance
            with torch.no_grad():
                if distance.multiplies:
                    self._similarities = distance.similarities(self.anchors, self.references)
                else:
                    self._similarities = distance.similarity(self.distances)
        return self._similarities

    @property
    def positive(self) -> Tensor:
        """(r, R) bool: same class, and not the anchor itself."""
        return self._both_masks()[0]

    @property
    def negative(self) -> Tensor:
        """(r, R) bool: another class."""
        return self._both_masks()[1]

    def _both_masks(self) -> tuple[Tensor, Tensor]:
        if self._masks is None:
            self._masks = self._find_masks()
        return self._masks


def measured(distance: Distance, anchors: Tensor, references: Tensor) -> Tensor:
    """The distances (r, R) of prepared rows.

    Raises:
        InputError: a distance of one's own gives something else.
    """
    distances = distance.block(anchors, references)
    wanted = (len(anchors), len(references))
    if not isinstance(distances, Tensor) or distances.shape != wanted:
        found = tuple(distances.shape) if isinstance(distances, Tensor) else type(distances).__name__
        raise InputError(f"{type(distance).__name__}.block gives {found}: it has to give distances {wanted}")
    return distances
