"""Which samples of an evaluated set are ranked for which: leave-one-out, queries in a gallery, or across two sides."""

from typing import NamedTuple

import torch
from torch import Tensor


class Ranking(NamedTuple):
    """Some queries and their gallery.

    Attributes:
        asking: (Q,) int64, the rows of the queries.
        kept: (M,) int64, the rows of the gallery.
        alone: whether a query is left out of its own ranking; ``kept`` is then ``asking``.
    """

    asking: Tensor
    kept: Tensor
    alone: bool


def rankings(count: int, queries: Tensor | None, side: Tensor | None) -> list[Ranking]:
    """The rankings of a set.

    Args:
        count: N.
        queries: bool (N,), True for a query and False for an item of the gallery; None for leave-one-out.
        side: (N,) the modality of each sample, 0 or 1; None where there is one. Each sample is then a query among those
            of the other side, and ``queries`` has no part.

    >>> [(one.asking.tolist(), one.kept.tolist()) for one in rankings(4, None, torch.tensor([0, 0, 1, 1]))]
    [([0, 1], [2, 3]), ([2, 3], [0, 1])]
    """
    if side is not None:
        first, second = (side == 0).nonzero().squeeze(1), (side == 1).nonzero().squeeze(1)
        return [Ranking(first, second, False), Ranking(second, first, False)]
    if queries is None:
        every = torch.arange(count)
        return [Ranking(every, every, True)]
    return [Ranking(queries.nonzero().squeeze(1), (~queries).nonzero().squeeze(1), False)]
