"""A study read from W&B, asked through an object that answers as its public API does."""

from pathlib import Path
from typing import Any

import pytest
from studies import write_study

from metriscope.errors import InputError
from metriscope.reports.comparison import compare
from metriscope.reports.wandb.study import load_project
from metriscope.run.history import points, read_history
from metriscope.run.record import FAILED, FINISHED, INTERRUPTED, RUNNING
from metriscope.run.study import Study, load_study


class Remote:
    """A run as W&B gives it back: flat config, summary with its own keys, rows without empty cells."""

    def __init__(self, run: Any, state: str = "finished", name: str = "") -> None:
        self.path = ["entity", "project", name or run.name.replace("/", "-")]
        self.config = {**run.config, "_wandb": {"cli_version": "0.31"}}
        self.summary_metrics = {**run.metrics, "_runtime": 5, "figures/a": {"_type": "image-file"}, "test/nan": "NaN"}
        self.state = state
        self.url = "https://wandb.invalid/" + "/".join(self.path)
        self.rows = [{**row, "_step": row["step"]} for row in read_history(run.folder / "metrics.csv")]

    def scan_history(self) -> list[dict[str, Any]]:
        return [*self.rows, {"figures/a": {"_type": "image-file"}, "_step": 99}]


class Api:
    def __init__(self, runs: list[Remote]) -> None:
        self.held = runs

    def runs(self, path: str, filters: dict[str, Any], order: str, per_page: int, lazy: bool) -> list[Remote]:
        if path != "entity/project":
            raise ValueError(f"Could not find project {path.split('/')[1]}")
        assert filters["jobType"] == {"$ne": "comparison"}
        return [run for run in self.held if run.config.get("study") == filters["config.study"]]


@pytest.fixture
def local(tmp_path: Path) -> Study:
    return load_study(write_study(tmp_path, {"contrastive": 0.6, "triplet": 0.9}, seeds=3))


def test_both_sources_give_the_same_frame(local: Study) -> None:
    remote = load_project("entity/project", "trial", Api([Remote(run) for run in local.runs]))
    for ours, theirs in zip(local.runs, remote.runs, strict=True):
        assert theirs.config == ours.config
        assert theirs.metrics == ours.metrics
        assert theirs.status == ours.status == FINISHED
        keys = ["train/loss", "val/recall_at_1"]
        for key in keys:
            assert points(theirs.history(keys), key) == points(ours.history(keys), key)
    here, there = compare(local), compare(remote)
    assert here.cells == there.cells
    assert remote.runs[0].url.startswith("https://")


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("running", RUNNING),
        ("failed", FAILED),
        ("crashed", FAILED),
        ("killed", INTERRUPTED),
        ("preempted", INTERRUPTED),
    ],
)
def test_states_are_those_of_runs(local: Study, state: str, status: str) -> None:
    runs = [Remote(run) for run in local.runs]
    runs[0].state = state
    found = load_project("entity/project", "trial", Api(runs))
    assert [run.status for run in found.unfinished] == [status]


def test_the_later_of_two_alike_counts_and_is_told(local: Study) -> None:
    first, again, broken = (Remote(local.runs[0], name=name) for name in ("first", "again", "broken"))
    broken.state = "crashed"
    found = load_project("entity/project", "trial", Api([first, again, broken]))
    assert [run.name for run in found.runs] == ["entity/project/again"]
    assert len(found.problems) == 2
    assert found.problems[0].endswith("have the same config; entity/project/again counts")


def test_what_is_no_run_is_told(local: Study) -> None:
    other = Remote(local.runs[0], name="notes")
    del other.config["seed"]
    found = load_project("entity/project", "trial", Api([other, Remote(local.runs[1])]))
    assert len(found.runs) == 1
    assert found.problems == ["entity/project/notes has no seed in its config; left out"]


@pytest.mark.parametrize(
    ("project", "study", "said"),
    [
        ("entity/projekt", "trial", "W&B project entity/projekt cannot be read: Could not find project projekt"),
        ("project", "trial", "'project' names no W&B project: give it as entity/project"),
        ("entity/", "trial", "'entity/' names no W&B project"),
        ("entity/project", "other", "W&B project entity/project holds no run of study 'other'"),
    ],
)
def test_a_project_that_is_not_there_is_one_line(local: Study, project: str, study: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        load_project(project, study, Api([Remote(run) for run in local.runs]))
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)
