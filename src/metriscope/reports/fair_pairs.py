"""Every pair of entries of a fair comparison: paired differences, P(A > B), and a test over queries."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metriscope.reading import read_bytes
from metriscope.reports.comparison import SIGNIFICANT, Comparison, pairs
from metriscope.reports.fair_study import ENTRY
from metriscope.reports.groups import Group
from metriscope.reports.statistics import Difference, holm, paired_difference
from metriscope.reports.superiority import FEWEST, QueryDifference, Superiority, query_difference, superiority
from metriscope.reports.table_style import Written
from metriscope.reports.tables import Shown, Table, p_value
from metriscope.run.study import StudyRun

MOST_ROWS = 15
"""Pairs that the page shows; of more it shows those with the best entry, and the file has all."""
_BYTES = 2**28

Precisions = Mapping[tuple[str, int], NDArray[np.float64]]


@dataclass(frozen=True)
class Pair:
    """Two entries, the first with the better mean; ``holm`` figures are adjusted over all pairs.

    Attributes:
        difference: over common repeats.
        superiority: over common repeats.
        queries: over queries, whose average precision is averaged over common repeats; None without per-query files.
    """

    first: str
    second: str
    difference: Difference
    p_t_holm: float | None
    superiority: Superiority
    queries: QueryDifference | None
    queries_p_holm: float | None = None


def precisions_of(runs: Sequence[StudyRun]) -> tuple[Precisions, list[str]]:
    """Average precision of every query of every run that has it in ``per_query.csv``, by entry and seed.

    Returns:
        the precisions, of several runs of an entry and seed their mean, NaN for queries that have nothing to find; and
        a line for each file that cannot be read.
    """
    found: dict[tuple[str, int], list[NDArray[np.float64]]] = {}
    notes = []
    for run in runs:
        path = None if run.folder is None else run.folder / "per_query.csv"
        if path is None or not path.exists():
            continue
        try:
            rows = csv.DictReader(io.StringIO(read_bytes(path, _BYTES).decode(), newline=""))
            values = {int(row["position"]): float(row["average_precision"] or "nan") for row in rows}
        except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
            notes.append(f"{path} cannot be read ({type(error).__name__}: {error}); its queries are left out")
            continue
        # Every run lists the same queries, in the order of their positions.
        precisions = np.array([values[place] for place in sorted(values)])
        found.setdefault((run.config[ENTRY], run.config["seed"]), []).append(precisions)
    alike = {repeat: own for repeat, own in found.items() if len({len(one) for one in own}) == 1}
    return {repeat: own[0] if len(own) == 1 else np.mean(own, axis=0) for repeat, own in alike.items()}, notes


def all_pairs(comparison: Comparison, metric: str, precisions: Precisions) -> list[Pair]:
    """All pairs of entries with common repeats in a metric, the best entries first.

    Args:
        comparison: by entry, of one data set.
        metric: logged key.
        precisions: as of :func:`precisions_of`.
    """
    sign = comparison.direction(metric) or 1
    places = [place for place in range(len(comparison.grouping.groups)) if (place, metric) in comparison.cells]
    groups = {comparison.grouping.groups[place].values[ENTRY]: comparison.grouping.groups[place] for place in places}
    means = {name: comparison.cells[place, metric].summary.mean for name, place in zip(groups, places, strict=True)}
    found = []
    for first, second in combinations(sorted(means, key=lambda name: -sign * means[name]), 2):
        ours, theirs = pairs(comparison.grouping, groups[first], groups[second], metric)
        if ours:
            difference = paired_difference(ours, theirs)
            over = _queries(groups[first], groups[second], precisions)
            found.append(Pair(first, second, difference, None, superiority(ours, theirs, sign), over))
    t = holm([pair.difference.p_t for pair in found])
    q = holm([pair.queries.p_t if pair.queries else None for pair in found])
    return [replace(pair, p_t_holm=a, queries_p_holm=b) for pair, a, b in zip(found, t, q, strict=True)]


def _queries(first: Group, second: Group, precisions: Precisions) -> QueryDifference | None:
    """The difference over queries of which both entries have figures in the same repeats."""
    seeds = [{run.config["seed"] for run in group.runs} for group in (first, second)]
    names = (first.values[ENTRY], second.values[ENTRY])
    common = sorted(seed for seed in seeds[0] & seeds[1] if all((name, seed) in precisions for name in names))
    rows = [[precisions[name, seed] for seed in common] for name in names]
    if not common or len({len(row) for own in rows for row in own}) != 1:
        return None
    ours, theirs = (np.mean(own, axis=0) for own in rows)
    asked = np.isfinite(ours) & np.isfinite(theirs)
    return query_difference(ours[asked], theirs[asked]) if asked.any() else None


def pairs_table(found: Sequence[Pair], written: Written, metric: str) -> Table:
    """The pairs as a table; of more than :data:`MOST_ROWS` those with the best entry."""
    best = found[0].first if found else ""
    shown = list(found) if len(found) <= MOST_ROWS else [pair for pair in found if pair.first == best]
    columns = ["A", "B", "pairs", "A - B", "95 % t interval", "p (t)", "P(A > B)", "95 % bootstrap", "A is"]
    columns += ["over queries", "A - B in AP", "95 % t interval", "p (t)"]
    rows = []
    for pair in shown:
        own, over = pair.superiority, pair.queries
        cells = [pair.first, pair.second, str(own.n), written.number(metric, pair.difference.mean, "+")]
        cells += [written.interval(metric, pair.difference.interval), p_value(pair.p_t_holm)]
        cells += [f"{own.probability:.2f}", _interval(own.interval, ".2f"), own.verdict or "-"]
        cells += ["-"] * 4 if over is None else [
            f"{over.n:,}", f"{over.mean:+.4f}", _interval(over.interval, ".4f"), p_value(pair.queries_p_holm)
        ]  # fmt: skip
        significant = pair.p_t_holm is not None and pair.p_t_holm < SIGNIFICANT
        rows.append([Shown([text], significant and place == 3) for place, text in enumerate(cells)])
    left = "" if len(shown) == len(found) else f" Those with {best} of {len(found)} pairs; pairs.csv has all."
    adjusted = f"p values are adjusted over all {len(found)} pairs (Holm). Bold: adjusted p"
    caption = (
        f"{written.metric(metric)}, paired by seed; {adjusted if len(found) > 1 else 'bold: p'} "
        "below 5 %. P(A > B) counts a tie half; better: its interval lies above 0.5 and reaches beyond "
        "0.75, slightly better: it lies above 0.5 only (arXiv:2103.03098). Where A wins every repeat the interval has "
        f"no width, so fewer than {FEWEST} repeats get no verdict. Queries are averaged over repeats; they share "
        f"models, gallery and classes, so their p speaks of these models and not of other repeats.{left}"
    )
    return Table(caption, columns, rows, 2)


def pairs_rows(found: Sequence[Pair]) -> list[dict[str, Any]]:
    """The pairs as the rows of a file, every figure as it is."""
    rows = []
    for pair in found:
        own, over = pair.superiority, pair.queries
        low, high = pair.difference.interval or (None, None)
        p_low, p_high = own.interval or (None, None)
        q_low, q_high = (over.interval if over else None) or (None, None)
        rows.append({
            "first": pair.first, "second": pair.second, "pairs": own.n, "difference": pair.difference.mean,
            "low": low, "high": high, "effect": pair.difference.effect, "p_t": pair.difference.p_t,
            "p_t_holm": pair.p_t_holm, "p_wilcoxon": pair.difference.p_wilcoxon,
            "probability": own.probability, "probability_low": p_low, "probability_high": p_high,
            "verdict": own.verdict, "queries": over.n if over else None,
            "queries_difference": over.mean if over else None, "queries_low": q_low, "queries_high": q_high,
            "queries_better": over.better if over else None, "queries_p_t": over.p_t if over else None,
            "queries_p_t_holm": pair.queries_p_holm, "queries_p_wilcoxon": over.p_wilcoxon if over else None,
        })  # fmt: skip
    return rows


def _interval(interval: tuple[float, float] | None, form: str) -> str:
    return "-" if interval is None else f"[{interval[0]:{form}}, {interval[1]:{form}}]"
