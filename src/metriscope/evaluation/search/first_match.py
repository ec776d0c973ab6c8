"""The rank of a query's nearest match, at any depth: counted, so nothing is sorted or stored."""

import torch
from torch import Tensor

from metriscope.evaluation.search.curved import Curved
from metriscope.evaluation.search.half_distances import full_precision
from metriscope.evaluation.search.neighbors import RowSearch, plan_blocks, search_blocks, whole_block
from metriscope.evaluation.search.points import both_points
from metriscope.evaluation.search.ranking import pack

NEVER = torch.iinfo(torch.int64).max


def first_match_ranks(
    queries: tuple[Tensor, Tensor],
    gallery: tuple[Tensor, Tensor],
    wanted: Tensor,
    *,
    exclude_self: bool,
    memory_mb: float = 256,
    space: Curved | None = None,
) -> Tensor:
    """Ranks (w,) from 1 of the nearest gallery item of the same class; 0 where there is none.

    O(w N D) time; two passes over the gallery, the first of which finds the match, and the second counts the items
    before it.

    Args:
        queries, gallery: embeddings (Q, D) and (N, D), each with classes (Q,) and (N,).
        wanted: (w,) positions of the queries to rank.
        exclude_self: queries are the gallery, and item i is no match of itself.
        memory_mb: bound on the temporaries in MiB.
        space: where embeddings lie, if that is not Euclidean.
    """
    (asking, own), (there, kept) = queries, gallery
    left, right = both_points(None if exclude_self else asking, there, space)
    blocks = plan_blocks(len(right.rows), 1, memory_mb, asking.device)
    ranks = torch.zeros_like(own)

    def visit(search: RowSearch, rows: Tensor) -> None:
        block = whole_block(left, rows)

        def keys(columns: Tensor) -> Tensor:
            distances = search.distances_to(block, rows, columns)[: len(rows)]
            return pack(distances, columns, search.keys[: distances.numel()].view_as(distances))

        parts = torch.split(search.columns[: len(kept)], blocks.columns)
        best = torch.full_like(rows, NEVER)
        for columns in parts:
            other = kept[columns] != own[rows, None]
            if exclude_self:
                other |= columns == rows[:, None]
            best = torch.minimum(best, keys(columns).masked_fill_(other, NEVER).amin(1))
        for columns in parts:
            ranks[rows] += (keys(columns) < best[:, None]).sum(1)
        ranks[rows] = torch.where(best < NEVER, ranks[rows] + 1, 0)

    with full_precision(asking.device):
        search_blocks(wanted, right, blocks, exclude_self, visit)
    return ranks[wanted]
