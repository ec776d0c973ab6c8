"""The ranks of all matches of a query: counted, so nothing as long as a ranking is kept."""

from collections.abc import Callable

import torch
from torch import Tensor

from metriscope.evaluation.search.curved import Curved
from metriscope.evaluation.search.half_distances import full_precision, half_distances, padded
from metriscope.evaluation.search.neighbors import GROUP, RowSearch, plan_blocks, search_blocks, whole_block
from metriscope.evaluation.search.points import Points, both_points
from metriscope.evaluation.search.ranking import pack, smallest

NEVER = torch.iinfo(torch.int64).max
FEW = 8  # so many matches are compared with every item; more are looked up among sorted ones


def visit_match_ranks(
    queries: tuple[Tensor, Tensor],
    gallery: tuple[Tensor, Tensor],
    visit: Callable[[Tensor, Tensor], None],
    *,
    exclude_self: bool,
    memory_mb: float = 256,
    space: Curved | None = None,
) -> None:
    """Calls ``visit`` with the ranks of the gallery items of each query's class, block by block.

    The distances to the matches are computed first, then those to the whole gallery, stretch by stretch, of which the
    ones before each match are counted. Time O(Q N (D + log N)); memory of a block O(R + stretch) per query.

    Args:
        queries, gallery: embeddings (Q, D) and (N, D), each with classes (Q,) and (N,) >= 0; an item of class -1
            matches nothing.
        visit: called as ``visit(rows, ranks)`` with the positions (b,) of queries and ranks (b, m) from 1, ascending,
            0 where a query has fewer matches than m; from several threads, once for each query that has a match.
        exclude_self: query i is item i of the gallery, and no match of itself.
        memory_mb: bound on the temporaries in MiB; no block has fewer than 16 queries.
        space: where embeddings lie, if that is not Euclidean.
    """
    (asking, own), (there, kept) = queries, gallery
    left, right = both_points(None if exclude_self else asking, there, space)
    by_class = kept.argsort(stable=True)
    sorted_classes = kept[by_class]
    starts = torch.searchsorted(sorted_classes, own)
    ends = torch.searchsorted(sorted_classes, own, right=True)
    matches = ends - starts - int(exclude_self)
    # Queries of one class together, so that a block has few candidates for a match.
    order = own.argsort(stable=True)
    order = order[matches[order] > 0]
    if len(order) == 0:
        return
    blocks = plan_blocks(len(there), int(matches.max()), memory_mb, asking.device)

    def visit_block(search: RowSearch, rows: Tensor) -> None:
        block = whole_block(left, rows)
        candidates = by_class[int(starts[rows[0]]) : int(ends[rows[-1]])]
        keys = _match_keys(block, right, rows, (own, kept), candidates, int(matches[rows].max()), exclude_self, search)
        before = torch.zeros_like(keys)
        for columns in search.stretches:
            distances = search.distances_to(block, rows, columns)[: len(rows)]
            found = pack(distances, columns, search.keys[: distances.numel()].view_as(distances))
            if keys.shape[1] <= FEW:
                for place in range(keys.shape[1]):
                    before[:, place] += (found < keys[:, place, None]).sum(1)
            else:
                before += torch.searchsorted(smallest(found, found.shape[1]), keys)
        visit(rows, (before + 1).masked_fill_(keys == NEVER, 0))

    with full_precision(asking.device):
        search_blocks(order, right, blocks, exclude_self, visit_block)


def _match_keys(
    block: Points,
    right: Points,
    rows: Tensor,
    classes: tuple[Tensor, Tensor],
    candidates: Tensor,
    m: int,
    exclude_self: bool,
    search: RowSearch,
) -> Tensor:
    """The keys (b, m) of the matches of queries among candidates, ascending; ``NEVER`` where there are fewer."""
    own, kept = classes
    best = torch.empty(len(rows), 0, dtype=torch.int64, device=rows.device)
    for columns in torch.split(candidates, search.blocks.columns):
        there = padded(right.take(columns), GROUP)
        shape = len(block.rows), len(there.rows)
        out = half_distances(block, there, search.buffer[: shape[0] * shape[1]].view(shape))
        distances = out[: len(rows), : len(columns)]
        other = kept[columns] != own[rows, None]
        if exclude_self:
            other |= columns == rows[:, None]
        keys = pack(distances, columns, torch.empty_like(distances, dtype=torch.int64)).masked_fill_(other, NEVER)
        best = smallest(torch.cat([best, keys], 1), m)
    return best.contiguous()
