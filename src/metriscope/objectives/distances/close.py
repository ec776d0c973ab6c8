"""Pairs so close that squared norms hide their distance: it is computed from differences.

|a|^2 + |r|^2 - 2 a.r has an error of about eps (|a|^2 + |r|^2), and a difference of sums of rows one of eps |a|. Where
|a - r|^2 lies below sqrt(eps) (|a|^2 + |r|^2), the pair is close: there a - r itself is computed. So squared distances
have a relative error of a few sqrt(eps) at most, 1e-3 in float32, however close points are, as have the shares of pairs
in gradients. A compiler cannot trace the search for such pairs: in a compiled graph they are left as they are.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from metriscope.objectives.numerics import squares

NUMBERS = 2**20  # entries of a matrix, and of gathered rows, that are looked at together


class Pairs(NamedTuple):
    """Positions (n,) of anchors and of references."""

    anchors: Tensor
    references: Tensor


def close_pairs(anchors: Tensor, references: Tensor, distances: Tensor, power: int) -> Iterator[Pairs]:
    """The close pairs of rows (r, D) and (R, D), each once, some at a time.

    Args:
        distances: (r, R) of the rows, which may be changed at the pairs that were given.
        power: 2 for squared distances, 1 for their roots.
    """
    if torch.compiler.is_compiling() or distances.numel() == 0:
        return
    share = torch.finfo(distances.dtype).eps ** 0.5
    own = squares(anchors).unsqueeze(1)
    # The norms of a close pair are nearly equal.
    reach = (3 * share * own).pow(power / 2)
    nearest = _nearest(distances)
    found = _rows(distances.gather(1, nearest) < reach)
    if len(found) == 0:
        return
    # The nearest is mostly the sample itself, which would hide whether there are others.
    crowded = _rows(distances.scatter(1, nearest, torch.inf).amin(1, keepdim=True) < reach)
    norms = squares(references)
    yield Pairs(found, nearest[found, 0])
    step = max(NUMBERS // distances.shape[1], 1)
    for rows in torch.split(crowded, step) if len(crowded) else ():
        near = distances[rows] < (share * (own[rows] + norms)).pow(power / 2)
        i, j = near.scatter_(1, nearest[rows], False).nonzero(as_tuple=True)
        yield Pairs(rows[i], j)


def _nearest(distances: Tensor) -> Tensor:
    """(r, 1) the place of the least distance."""
    if distances.device.type == "cpu":  # numpy is many times as fast
        return torch.from_numpy(distances.numpy().argmin(1)).unsqueeze(1)
    return distances.argmin(1, keepdim=True)


def _rows(mask: Tensor) -> Tensor:
    return mask.squeeze(1).nonzero().squeeze(1)


def _in_parts(pairs: Pairs, size: int) -> Iterator[Pairs]:
    step = max(NUMBERS // max(size, 1), 1)
    for start in range(0, len(pairs.anchors), step):
        yield Pairs(*(places[start : start + step] for places in pairs))


@torch.no_grad()
def resolve(anchors: Tensor, references: Tensor, squared: Tensor, factor: float = 1.0) -> None:
    """Replaces the squared distances (r, R), each times ``factor``, of close pairs."""
    # Backward passes need the rows alone, so what the graph holds may change.
    anchors, references, squared = anchors.detach(), references.detach(), squared.detach()
    for found in close_pairs(anchors, references, squared, 2):
        for i, j in _in_parts(found, anchors.shape[1]):
            squared[i, j] = (anchors[i] - references[j]).square_().sum(1) * factor


def pull_close(
    anchors: Tensor, references: Tensor, distances: Tensor, weights: Tensor, power: int
) -> Iterator[tuple[Pairs, Tensor]]:
    """Takes the close pairs out of the weights (r, R), and gives them with w (r - a), (n, D), some at a time."""
    for found in close_pairs(anchors, references, distances, power):
        for i, j in _in_parts(found, anchors.shape[1]):
            taken = weights[i, j]
            weights[i, j] = 0
            (some,) = taken.nonzero(as_tuple=True)
            if len(some):
                i, j = i[some], j[some]
                yield Pairs(i, j), (references[j] - anchors[i]).mul_(taken[some].unsqueeze(1))
