"""Verification of an evaluated set: its curve, computed once, and the figures that are taken from it."""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

from torch import Tensor

from metriscope.evaluation.verification.curve import PairCurve
from metriscope.evaluation.verification.listed import ListedPairs, PairList
from metriscope.evaluation.verification.rates import ClassRates, edges_between
from metriscope.evaluation.verification.tiled import Ranks, TiledPairs

CALIBRATION = (1e-4, 1e-1)
"""The FARs between whose thresholds classes are compared."""
STEPS = 64
"""The number of these thresholds."""


class Verification:
    """Which pairs of a set are asked about, and what there is to know of their scores; each pass is made once.

    Args:
        embeddings: (N, D).
        labels: (N,) integers.
        queries: bool (N,): each query (True) with each sample of the gallery (False); None for all pairs of the set.
        pairs: a list, which takes the place of both.
    """

    def __init__(
        self, embeddings: Tensor, labels: Tensor, queries: Tensor | None = None, pairs: PairList | None = None
    ) -> None:
        self._set = embeddings, labels, queries, pairs
        self._rates: dict[tuple[float, float], ClassRates | None] = {}
        self._ranks: Ranks | None = None

    @contextmanager
    def shared(self, ranks: Ranks | None) -> Iterator[None]:
        """Within, processes share the passes over all pairs, for the same counts in each of them.

        All of them have to hold the same set and to ask for the same figures in the same order. A list of pairs, whose
        time does not grow with their square, is taken by each.

        Args:
            ranks: the processes; None where this one is alone.
        """
        self._ranks = ranks
        try:
            yield
        finally:
            self._ranks = None

    @cached_property
    def _pairs(self) -> TiledPairs | ListedPairs:
        embeddings, labels, queries, pairs = self._set
        return TiledPairs(embeddings, labels, queries) if pairs is None else ListedPairs(embeddings, labels, pairs)

    def _passing(self) -> TiledPairs | ListedPairs:
        """The pairs, ready for a pass."""
        if isinstance(self._pairs, TiledPairs):
            self._pairs.ranks = self._ranks
        return self._pairs

    @property
    def known(self) -> PairCurve | None:
        """The curve, if something has asked for it before."""
        found: PairCurve | None = vars(self).get("curve")
        return found

    @cached_property
    def curve(self) -> PairCurve:
        """Of all pairs; O(N^2 D) time, or O(P D) for a list of P, and 134 MB beside the blocks."""
        return PairCurve(*self._passing().counted())

    def tar_at(self, far: float) -> float:
        """:meth:`PairCurve.tar_at`, with a warning for a FAR that is finer than the pairs allow."""
        self._warn_if_too_fine(far)
        return self.curve.tar_at(far)

    @property
    def known_rates(self) -> ClassRates | None:
        """The first rates that something has asked for before."""
        return next((found for found in self._rates.values() if found is not None), None)

    def rates(self, calibration: tuple[float, float] = CALIBRATION) -> ClassRates | None:
        """Error rates of each class at :data:`STEPS` thresholds between those of two FARs over all pairs.

        One more pass over the pairs; memory O(C) beside the blocks. None, with a warning, where the pairs are too few
        for these FARs, and without one where there are no positive or no negative pairs.
        """
        span = min(calibration), max(calibration)
        if span not in self._rates:
            self._warn_if_too_fine(span[0])
            high, low = (self.curve.place_at(far) for far in span)
            if high is None or low is None:
                self._rates[span] = None
            else:
                edges = edges_between(low, high, STEPS).to(self.curve.device)
                self._rates[span] = self._passing().by_class(edges).rates()
        return self._rates[span]

    def inconsistency(self, calibration: tuple[float, float] = CALIBRATION) -> float:
        """:attr:`ClassRates.inconsistency` between the thresholds of two FARs; NaN where there are no such rates."""
        found = self.rates(calibration)
        return math.nan if found is None else found.inconsistency

    def _warn_if_too_fine(self, far: float) -> None:
        if self.curve and self.curve.allowed(far) < 1:
            warnings.warn(
                f"FAR {far:g} is finer than 1 in {self.curve.negatives:,}, the negative pairs that there are: what "
                "asks for it is left out",
                stacklevel=3,
            )
