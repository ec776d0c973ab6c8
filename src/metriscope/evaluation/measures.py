"""What a ranking of neighbours is asked for. Imports no torch."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from metriscope.errors import InputError


class Measures(NamedTuple):
    """The metrics to compute from a ranking.

    Attributes:
        recall_at: the K of Recall@K, the share of queries with a hit among the K nearest.
        precision_at: the K of precision@K, the mean share of hits among the K nearest.
        map_at_r: R-precision and MAP@R = mean over queries of (1/R) sum_{i <= R} P(i) rel(i)
            (arXiv:2003.08505), which need R neighbours of each query.
        mrr: the mean of 1 / rank of the first hit, at any rank. Queries without a hit among the neighbours that the
            other metrics need take one more pass over the gallery.
        map_at: the K of MAP@K = mean over queries of (1/min(R, K)) sum_{i <= K} P(i) rel(i).
        mean_average_precision: the mean of (1/R) sum_i P(i) rel(i) over whole rankings, in which the matches are
            counted to, however far down they are.
        cmc_at: the K of the cumulative matching characteristic, the mean over queries of the share of matches that are
            among the K nearest where each is the only match in the gallery. It needs R + K - 1 neighbours.
    """

    recall_at: Sequence[int] = (1, 2, 4, 8)
    precision_at: Sequence[int] = (1,)
    map_at_r: bool = True
    mrr: bool = True
    map_at: Sequence[int] = ()
    mean_average_precision: bool = False
    cmc_at: Sequence[int] = ()

    def check(self, place: str = "") -> None:
        """Raises InputError for a K below 1, which begins with ``place``."""
        for name in ("recall_at", "precision_at", "map_at", "cmc_at"):
            at = getattr(self, name)
            if any(k < 1 for k in at):
                raise InputError(f"{place}{name} must hold numbers of at least 1, got {list(at)}")

    @property
    def depth(self) -> int:
        """How many neighbours every query needs, those of its class aside."""
        return max((*self.recall_at, *self.precision_at, *self.map_at), default=1)


SKIPPED = Measures((), (), map_at_r=False, mrr=False)
"""Of the ranking itself nothing: how many queries have something to find."""


def together(asked: Iterable[Measures]) -> Measures | None:
    """What one search has to give so that all who ask are served; None where nobody asks."""
    wanted = list(asked)
    if not wanted:
        return None
    return Measures(
        tuple(sorted({k for one in wanted for k in one.recall_at})),
        tuple(sorted({k for one in wanted for k in one.precision_at})),
        any(one.map_at_r for one in wanted),
        any(one.mrr for one in wanted),
        tuple(sorted({k for one in wanted for k in one.map_at})),
        any(one.mean_average_precision for one in wanted),
        tuple(sorted({k for one in wanted for k in one.cmc_at})),
    )
