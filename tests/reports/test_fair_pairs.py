"""Pairs of entries, against their figures computed apart."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from studies import made

from metriscope.reports.comparison import Comparison, compare
from metriscope.reports.fair_pairs import all_pairs, pairs_rows, pairs_table, precisions_of
from metriscope.reports.fair_study import ENTRY
from metriscope.reports.statistics import holm
from metriscope.reports.table_style import Written
from metriscope.run.study import Study, StudyRun

METRIC = "test/map_at_r"
VALUES = {
    "a": [0.50, 0.52, 0.51, 0.49, 0.53],
    "b": [0.45, 0.47, 0.51, 0.44, 0.46],
    "c": [0.30, 0.35, 0.31, 0.36, 0.33],
}


def repeat(entry: str, seed: int, value: float = 0.5, folder: Path | None = None) -> StudyRun:
    run = made({METRIC: value}, loss__name=entry, seed=seed)
    return replace(run, config={**run.config, ENTRY: entry}, folder=folder)


def compared(values: dict[str, list[float]]) -> Comparison:
    runs = [repeat(entry, seed, value) for entry, own in values.items() for seed, value in enumerate(own)]
    return compare(Study("trial", runs), [ENTRY], [METRIC])


def test_every_pair_with_the_better_first_and_holm_over_all() -> None:
    found = all_pairs(compared(VALUES), METRIC, {})
    assert [(pair.first, pair.second) for pair in found] == [("a", "b"), ("a", "c"), ("b", "c")]
    expected = [stats.ttest_rel(VALUES[pair.first], VALUES[pair.second]) for pair in found]
    assert [pair.difference.p_t for pair in found] == pytest.approx([test.pvalue for test in expected])
    assert [pair.p_t_holm for pair in found] == pytest.approx(holm([test.pvalue for test in expected]))
    assert found[0].superiority.probability == (4 + 0.5) / 5
    assert {pair.queries for pair in found} == {None}


def test_queries_are_averaged_over_common_repeats() -> None:
    draw = np.random.default_rng(0)
    own = {(name, seed): draw.random(30) for name in ("a", "b") for seed in (0, 1)} | {("a", 2): draw.random(30)}
    own["a", 0][3] = own["b", 0][3] = np.nan  # has nothing to find
    pair = all_pairs(compared({"a": VALUES["a"][:3], "b": VALUES["b"][:3]}), METRIC, own)[0]
    first, second = ((own[name, 0] + own[name, 1])[np.arange(30) != 3] / 2 for name in ("a", "b"))
    test = stats.ttest_rel(first, second)
    assert pair.queries.n == 29
    assert pair.queries.p_t == pytest.approx(test.pvalue)
    assert pair.queries_p_holm == pair.queries.p_t
    other = own | {("b", 1): draw.random(29)}
    assert all_pairs(compared(VALUES), METRIC, other)[0].queries is None, "of other queries"


def test_the_files_of_queries(tmp_path: Path) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    for folder, text in ((good, "position,average_precision\n1,0.5\n0,\n"), (bad, "position\n0\n")):
        folder.mkdir()
        (folder / "per_query.csv").write_text(text)
    found, notes = precisions_of([repeat("a", 0, folder=good), repeat("a", 1, folder=bad), repeat("a", 2)])
    assert found.keys() == {("a", 0)}
    np.testing.assert_array_equal(found["a", 0], [np.nan, 0.5])
    assert len(notes) == 1
    assert "KeyError" in notes[0]


def test_of_many_pairs_the_table_has_those_with_the_best() -> None:
    many = {f"m{place}": [0.5 - 0.02 * place + 0.001 * s * (place % 3) for s in range(3)] for place in range(7)}
    comparison = compared(many)
    found = all_pairs(comparison, METRIC, {})
    table = pairs_table(found, Written(comparison), METRIC)
    assert len(found) == 21
    assert [row[0].lines[0] for row in table.rows] == ["m0"] * 6
    assert "21 pairs; pairs.csv has all" in table.caption
    assert len(pairs_rows(found)) == 21
    assert pairs_rows(found)[0]["second"] == "m1"


def test_one_repeat_has_no_interval() -> None:
    comparison = compared({name: own[:1] for name, own in VALUES.items()})
    row = pairs_table(all_pairs(comparison, METRIC, {}), Written(comparison), METRIC).rows[0]
    assert [cell.lines[0] for cell in row][4:] == ["-", "-", "1.00", *["-"] * 6]
