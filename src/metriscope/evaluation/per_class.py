"""Retrieval results per class, which show the classes that an average hides."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from metriscope.escapes import for_csv
from metriscope.evaluation.scores import QueryScores
from metriscope.files import replacing


class ClassResult(NamedTuple):
    """Means over the queries of one class that have a match."""

    name: str
    queries: int
    skipped: int
    """Queries of the class without any match to find."""
    recall_at_1: float | None
    map_at_r: float | None


def per_class(scores: QueryScores, classes: Sequence[str]) -> list[ClassResult]:
    """Results for every class in ``classes`` (C,), whose positions are the labels; None for a class without a query."""
    counted = scores.relevant > 0
    found = []
    for label, name in enumerate(classes):
        mine = scores.labels == label
        those = mine & counted
        queries = int(those.sum())
        recall = float((scores.first_hit[those] == 1).double().mean()) if queries else None
        precision = float(scores.average_precision[those].mean()) if queries else None
        found.append(ClassResult(name, queries, int(mine.sum()) - queries, recall, precision))
    return found


def write_per_class(path: Path, results: Sequence[ClassResult]) -> None:
    """Writes a CSV file with a line per class, the worst first; values of None stay empty."""
    worst_first = sorted(results, key=lambda one: (one.recall_at_1 is None, one.recall_at_1, one.map_at_r))
    with replacing(path) as draft, draft.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["class", *ClassResult._fields[1:]])
        writer.writerows(map(for_csv, one) for one in worst_first)
