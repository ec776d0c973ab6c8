"""Checks of a fair comparison: each holds on a sound study, and fails on one with its own fault."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from fair_studies import write_fair

from metriscope.annotations import said
from metriscope.reports.fair_checks import checks, checks_table, failures
from metriscope.reports.fair_study import ENTRY, FairStudy, read_fair
from metriscope.run.study import StudyRun


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fair(tmp_path_factory.mktemp("fair"), ("contrastive", "triplet"), repeats=3)


@pytest.fixture(scope="module")
def study(folder: Path) -> FairStudy:
    return read_fair(folder)


def holds(study: FairStudy) -> dict[str, bool | None]:
    return {one.name: one.holds for one in checks(study)}


def with_runs(study: FairStudy, change: Callable[[StudyRun], StudyRun | None]) -> FairStudy:
    runs = [new for run in study.runs.runs if (new := change(run)) is not None]
    return replace(study, runs=replace(study.runs, runs=runs))


def test_a_sound_study(study: FairStudy) -> None:
    found = holds(study)
    assert {name for name, one in found.items() if one is not True} == {"pooling"}, "the network is no timm model"
    assert failures(checks(study)) == []
    assert not any(cell.bold for row in checks_table(checks(study)).rows for cell in row)


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("trunk", "backbone.weights", "imagenet"),
        ("size", "head.size", 64),
        ("input", "augmentation.size", 64),
        ("batch norm", "backbone.freeze_batch_norm", True),
        ("pooling", "backbone.pooling", "max"),
        ("batch", "sampler.batch_size", 32),
        ("optimiser", "optimizer.weight_decay", 0.1),
        ("schedule", "scheduler.name", "cosine"),
        ("precision", "trainer.precision", "16-mixed"),
        ("data", "dataset.label_noise", 0.2),
    ],
)
def test_a_setting_that_one_entry_has_alone(study: FairStudy, name: str, key: str, value: object) -> None:
    odd = with_runs(
        study, lambda run: replace(run, config={**run.config, key: value}) if run.config[ENTRY] == "triplet" else run
    )
    (line,) = failures(checks(odd))
    assert line.startswith(f"check of {name} fails: {key}: ")
    assert f"{said(value)} (triplet)" in line


def test_what_is_searched_may_differ(study: FairStudy) -> None:
    rates = {run.config["optimizer.lr_head"] for run in study.runs.runs}
    assert len(rates) == 2
    assert holds(study)["optimiser"] is True


def test_budgets_may_differ_between_entries_and_not_within(study: FairStudy) -> None:
    def longer(entry: str, seeds: tuple[int, ...]) -> FairStudy:
        def change(run: StudyRun) -> StudyRun:
            odd = run.config[ENTRY] == entry and run.config["seed"] in seeds
            return replace(run, config={**run.config, "trainer.max_epochs": 99}) if odd else run

        return with_runs(study, change)

    assert holds(longer("triplet", (0, 1, 2)))["budget"] is True
    assert holds(longer("triplet", (0,)))["budget"] is False


def test_repeats(study: FairStudy) -> None:
    fewer = with_runs(study, lambda run: run if run.config["seed"] == 0 else None)
    assert "too few repeats for an interval: contrastive has 1, triplet has 1, and 2" in failures(checks(fewer))[0]
    unpaired = with_runs(study, lambda run: run if (run.config["seed"], run.config[ENTRY]) != (0, "triplet") else None)
    assert "repeats are not paired" in failures(checks(unpaired))[0]
    short = with_runs(study, lambda run: run if run.config["seed"] else None)
    assert "2 repeats of each entry, paired by seed, and 3 were asked for" in failures(checks(short))[0]


def test_settings_and_test_classes(study: FairStudy) -> None:
    other = with_runs(study, lambda run: replace(run, config={**run.config, "optimizer.lr_head": 0.5}))
    assert holds(other)["settings"] is False
    peeking = with_runs(study, lambda run: replace(run, config={**run.config, "evaluation.monitor": "test/map_at_r"}))
    assert holds(peeking)["test classes"] is False


def test_the_ledger_decides_who_won(study: FairStudy) -> None:
    fewer = replace(study, trials=[one for one in study.trials if one.trial != study.winner(one.entry)["trial"]])
    found = holds(fewer)
    assert (found["trials"], found["selection"]) == (False, False)
    by_test = replace(study, definition={**study.definition, "metric": "test/map_at_r"})
    assert holds(by_test)["selection"] is False


def test_a_repeat_of_another_manifest(study: FairStudy) -> None:
    odd = with_runs(study, lambda run: replace(run, record=replace(run.record, fair="other")))
    assert holds(odd)["seal"] is False


def test_an_open_search_has_little_to_check(tmp_path: Path) -> None:
    found = holds(read_fair(write_fair(tmp_path, ("triplet",), closed=False, zero_shot=False)))
    assert {name: one for name, one in found.items() if one is not None} == {"trials": True}
