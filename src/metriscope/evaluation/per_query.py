"""Retrieval results per query, which show the single images that an average hides."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from metriscope.escapes import for_csv
from metriscope.evaluation.embedded import EvaluatedSet
from metriscope.evaluation.rankings import rankings
from metriscope.evaluation.search.neighbors import nearest
from metriscope.files import replacing

DISTRACTOR = "(distractor)"
"""What stands for the class of a distractor."""


class QueryResult(NamedTuple):
    """What one query finds; its scores are None where it has nothing to find."""

    position: int
    """In the evaluated part."""
    path: str | None
    class_name: str
    rank_of_first_match: int | None
    """From 1; None also where the search did not go so far down."""
    recall_at_1: int | None
    r_precision: float | None
    average_precision: float | None
    """Over the R nearest, the mean of which is MAP@R."""
    nearest_position: int | None
    nearest_path: str | None
    nearest_class: str | None


def per_query(
    embedded: EvaluatedSet,
    classes: Sequence[str],
    paths: Sequence[str] | None = None,
    queries: Tensor | None = None,
    memory_mb: float = 256,
) -> list[QueryResult]:
    """Results for every query of a set, in its order.

    Args:
        embedded: the set, with its scores.
        classes: (C,) names by label.
        paths: files by position in the evaluated part; None without files.
        queries: bool by position in the evaluated part; None for leave-one-out.
        memory_mb: working memory of the search in MiB.
    """
    scores, z, labels = embedded.ranked(), embedded.embeddings, embedded.labels.tolist()
    index = torch.arange(len(z)) if embedded.positions is None else embedded.positions.cpu()
    asked = None if queries is None else queries.cpu()[index]
    side = None if embedded.side is None else embedded.side.cpu()
    by_row: dict[int, int | None] = {}
    for rows, kept, alone in rankings(len(z), asked, side):
        there = z[kept] if embedded.distractors is None else torch.cat([z[kept], embedded.distractors])
        found = nearest(z[rows], there, 1, exclude_self=alone, memory_mb=memory_mb).cpu()
        # The rows of what may be found; -1 for a distractor, which has none.
        places = torch.cat([kept, kept.new_full((len(there) - len(kept),), -1)])
        first = [None] * len(rows) if found.shape[1] == 0 else places[found.squeeze(1)].tolist()
        by_row |= dict(zip(rows.tolist(), first, strict=True))

    def path_of(row: int) -> str | None:
        return None if paths is None else paths[int(index[row])]

    shown = (scores.relevant, scores.first_hit, scores.r_precision, scores.average_precision)
    values = zip(*(one.tolist() for one in shown), strict=True)
    results = []
    for row, (finds, rank, share, average) in zip(sorted(by_row), values, strict=True):
        nearest_row = by_row[row]
        near = None if nearest_row == -1 else nearest_row
        results.append(
            QueryResult(
                position=int(index[row]),
                path=path_of(row),
                class_name=classes[labels[row]],
                rank_of_first_match=rank or None,
                recall_at_1=int(rank == 1) if finds else None,
                r_precision=share if finds else None,
                average_precision=average if finds else None,
                nearest_position=None if near is None else int(index[near]),
                nearest_path=None if near is None else path_of(near),
                nearest_class=DISTRACTOR if nearest_row == -1 else None if near is None else classes[labels[near]],
            )
        )
    return results


def write_per_query(path: Path, results: Sequence[QueryResult]) -> None:
    """Writes a CSV file with a line per query; values of None stay empty."""
    header = ["class" if name == "class_name" else name for name in QueryResult._fields]
    with replacing(path) as draft, draft.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(map(for_csv, one) for one in results)
