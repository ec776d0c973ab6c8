"""Pairs so close that squared norms hide their distance: it is computed from differences.

|a|^2 + |r|^2 - 2 a.r has an error of about eps (|a|^2 + |r|^2), and a difference of sums of rows one of eps |a|. Where
|a - r|^2 lies below sqrt(eps) (|a|^2 + |r|^2), the pair is close: there a - r itself is computed. So squared distances
have a relative error of a few sqrt(eps) at most, 1e-3 in float32, however close points are, as have the shares of pairs
in gradients. A compiler cannot trace the search for such pairs, and on a GPU the host would have to wait for its end in
every step: in compiled graphs and on GPUs they are left as they are.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from metriscope.objectives.numerics import squares

NUMBERS = 2**20  # numbers of rows that are gathered together


class Pairs(NamedTuple):
    """Positions (n,) of anchors and of references."""

    anchors: Tensor
    references: Tensor


def _are_sought(distances: Tensor) -> bool:
    return distances.device.type == "cpu" and not torch.compiler.is_compiling() and distances.numel() > 0


def close_pairs(anchors: Tensor, references: Tensor, distances: Tensor, power: int, own: Tensor) -> Pairs | None:
    """The close pairs of rows (r, D) and (R, D); None where there are none but of a row with itself.

    Args:
        distances: (r, R) of the rows, on a CPU.
        power: 2 for squared distances, 1 for their roots.
        own: (r,), the squared norms of the anchors.
    """
    share = torch.finfo(distances.dtype).eps ** 0.5
    # The norms of a close pair are nearly equal, so that few others lie within this reach.
    table, place = distances.numpy(), itself(anchors, references)
    some = np.less(table, (3 * share * float(own.max())) ** (power / 2))
    if np.count_nonzero(some) == (0 if place is None else np.count_nonzero(some.diagonal(place))):
        return None
    reach = (3 * share * own).pow_(power / 2)
    places = torch.from_numpy(np.flatnonzero(np.less(table, reach.unsqueeze(1).numpy())))
    i, j = places // distances.shape[1], places % distances.shape[1]
    close = distances[i, j] < (share * (own[i] + squares(references)[j])).pow_(power / 2)
    return Pairs(i[close], j[close])


def itself(anchors: Tensor, references: Tensor) -> int | None:
    """Where the first anchor stands among the references, if anchors are a view of them."""
    if anchors.untyped_storage().data_ptr() != references.untyped_storage().data_ptr():
        return None
    first, off = divmod(int(anchors.storage_offset() - references.storage_offset()), max(references.shape[1], 1))
    same = anchors.stride() == references.stride() == (references.shape[1], 1) and off == 0
    return first if same and 0 <= first <= len(references) - len(anchors) else None


def in_parts(pairs: Pairs, size: int) -> Iterator[Pairs]:
    """The pairs, so many at a time that their rows, of ``size`` numbers, stay small."""
    step = max(NUMBERS // max(size, 1), 1)
    for start in range(0, len(pairs.anchors), step):
        yield Pairs(*(places[start : start + step] for places in pairs))


def _differences(anchors: Tensor, references: Tensor, pairs: Pairs) -> Tensor:
    return anchors.index_select(0, pairs.anchors).sub_(references.index_select(0, pairs.references))


@torch.no_grad()
def resolve(anchors: Tensor, references: Tensor, squared: Tensor, own: Tensor, factor: float = 1.0) -> None:
    """Replaces the squared distances (r, R), each times ``factor``, of close pairs.

    Args:
        anchors, references: (r, D) and (R, D).
        squared: (r, R), changed in place.
        own: (r,), the squared norms of the anchors.
        factor: that of the squared distances.
    """
    if not _are_sought(squared):
        return
    # Backward passes need the rows alone, so what the graph holds may change.
    anchors, references, squared = anchors.detach(), references.detach(), squared.detach()
    found = close_pairs(anchors, references, squared, 2, own.detach())
    if found is None:
        place = itself(anchors, references)
        if place is not None:
            squared.diagonal(place).zero_()
        return
    for i, j in in_parts(found, anchors.shape[1]):
        squared[i, j] = _differences(anchors, references, Pairs(i, j)).square_().sum(1).mul_(factor)


def pull_close(
    anchors: Tensor, references: Tensor, distances: Tensor, weights: Tensor, power: int
) -> Iterator[tuple[Pairs, Tensor]]:
    """Takes the close pairs out of the weights (r, R), and gives them with w (r - a), (n, D), some at a time."""
    if not _are_sought(distances):
        return
    found = close_pairs(anchors, references, distances, power, squares(anchors))
    for i, j in () if found is None else in_parts(found, anchors.shape[1]):
        by = _differences(references, anchors, Pairs(j, i)).mul_(weights[i, j].unsqueeze(1))
        weights[i, j] = 0
        yield Pairs(i, j), by
