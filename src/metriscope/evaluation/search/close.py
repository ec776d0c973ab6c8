"""Distances of pairs so close that squared norms hide them: computed from the differences of the given numbers."""

import torch
from torch import Tensor

from metriscope.evaluation.search.points import Points

CLOSE = 2.0**-12
"""Below this share of the squared norms, float32 leaves too few digits of a distance."""
PAIRS = {"cpu": 2**18}  # pairs that are looked at together
PAIRS_ELSEWHERE = 2**24
NUMBERS = 2**20  # numbers of rows that are gathered at a time


def resolve(left: Points, right: Points, out: Tensor) -> Tensor:
    """Replaces the distances (a, b) of close pairs in ``out`` and returns it."""
    largest = right.half.masked_fill(right.half.isinf(), 0).amax()
    close = (out.amin(1, keepdim=True) < CLOSE * (left.half + largest)).squeeze(1).nonzero().squeeze(1)
    step = max(PAIRS.get(out.device.type, PAIRS_ELSEWHERE) // out.shape[1], 1)
    for rows in torch.split(close, step) if len(close) else ():
        some = left.take(rows)
        near = out[rows] < CLOSE * (some.half + right.half.T)
        i, j = near.nonzero(as_tuple=True)
        own, others = some.places[i], right.places[j]
        out[rows[i], j] = _between(left, right, own, others)
    return out


def _between(left: Points, right: Points, own: Tensor, others: Tensor) -> Tensor:
    """Half the squared distances (n,) of pairs of given rows; in float64 where these are."""
    found = torch.zeros(len(own), dtype=left.rows.dtype, device=own.device)
    different = (left.digests[own] != right.digests[others]).nonzero().squeeze(1)
    size = max(NUMBERS // max(left.given.shape[1], 1), 1)
    for some in torch.split(different, size) if len(different) else ():
        a, b = (_exact(p.given[where[some]]).unsqueeze(1) for p, where in ((left, own), (right, others)))
        distances = torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist").flatten()
        found[some] = (distances.square() / 2).float()
    return found


def _exact(rows: Tensor) -> Tensor:
    return rows if rows.dtype == torch.float64 else rows.float()
