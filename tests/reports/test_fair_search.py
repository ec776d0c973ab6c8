"""Searches of a ledger as curves, prices and tables."""

from pathlib import Path

import numpy as np
import pytest

from metriscope.reports.fair_search import (
    expected_best_figure,
    expected_best_rows,
    importance_rows,
    orders,
    search_rows,
    search_table,
    searches,
    winners_table,
)
from metriscope.reports.fair_study import FairStudy
from metriscope.run.ledger import Row

SPACES = {"a": {"loss.margin": "interval(0,1)"}, "b": {"loss.margin": "interval(0,1)"}, "c": {}}


def study(values: dict[str, list[float | None]], mode: str = "max") -> FairStudy:
    """None stands for a trial that was pruned."""
    trials = [
        Row(entry, k, 0, "", {"loss.margin": 0.1 * (k + 1)}, (), v, "pruned" if v is None else "complete", 10, 60.0)
        for entry, own in values.items()
        for k, v in enumerate(own)
    ]
    entries = [{"name": name, "words": []} for name in values]
    definition = {"entries": entries, "spaces": SPACES, "metric": "val/map_at_r", "mode": mode}
    return FairStudy(Path("study"), definition, None, "", trials, None, None, ())


def cells(table) -> list[list[str]]:
    return [[cell.lines[0] for cell in row] for row in table.rows]


def test_a_pruned_trial_counts_as_the_worst_complete_one() -> None:
    (found,), notes = searches(study({"a": [0.2, 0.5, None, 0.1]}))
    # Of 0.5, 0.2, 0.1, 0.1: the best of two is 0.5 in three sets of six, 0.2 in two, 0.1 in one.
    assert found.curve == pytest.approx([0.9 / 4, (3 * 0.5 + 2 * 0.2 + 0.1) / 6, (3 * 0.5 + 0.2) / 4, 0.5])
    assert (found.price.default, found.price.best, found.price.gain) == (0.2, 0.5, pytest.approx(0.3))
    assert (found.best.trial, found.price.seconds, found.weights) == (1, 240.0, None)
    assert notes == []


def test_lower_may_be_better() -> None:
    (found,), _ = searches(study({"a": [0.4, 0.1, None]}, mode="min"))
    assert found.curve[-1] == 0.1
    assert found.curve[0] == pytest.approx((0.4 + 0.1 + 0.4) / 3)
    assert found.price.gain == pytest.approx(0.3)


def test_the_leader_may_change_with_the_budget() -> None:
    found, _ = searches(study({"a": [0.4, 0.4, 0.4], "b": [0.1, 0.2, 0.9]}))
    # b: 0.4, then (0.9 + 0.9 + 0.2) / 3 of two trials.
    assert orders(found, 1) == "from 1 trial on a; from 2 trials on b"
    assert [row["expected_best"] for row in expected_best_rows(found)][3:] == pytest.approx([0.4, 2 / 3, 0.9])


def test_tables_and_rows() -> None:
    values = np.linspace(0.1, 0.4, 12)
    one = study({"a": [float(v) for v in values], "b": [0.3, None]})
    found, _ = searches(one)
    first, second = cells(search_table(one, found))
    assert first[:5] == ["a", "12", "0", "0", "0.1000"]
    assert first[-1] == "12 min"
    assert second[:8] == ["b", "2", "1", "0", "0.3000", "0.3000", "-", "-"]
    assert search_rows(found)[1]["trials_needed"] == 0
    assert cells(winners_table(one, found)) == [
        ["a", "loss.margin", "interval(0,1)", "0.1", "1.2", "1.00"],
        ["b", "loss.margin", "interval(0,1)", "0.1", "0.1", "-"],
    ]
    assert [row["parameter"] for row in importance_rows(found)] == ["loss.margin"]
    assert expected_best_figure(one, found, "study") is not None


def test_entries_without_a_complete_trial_are_named() -> None:
    found, notes = searches(study({"a": [None, None], "c": [0.5]}))
    assert [one.entry for one in found] == ["c"]
    assert notes == ["a: no trial is complete"]
    assert expected_best_figure(study({"c": [0.5]}), found, "study") is None


def test_without_optuna_only_importances_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    found, notes = searches(study({name: np.linspace(0.1, 0.4, 12).tolist() for name in ("a", "b")}))
    assert [one.weights for one in found] == [None, None]
    assert len(notes) == 1
    assert "pip install optuna" in notes[0]
