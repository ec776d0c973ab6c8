import json
import logging
import time
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from wandb_files import records, values

from metriscope.errors import InputError
from metriscope.reports.style import panels, save
from metriscope.tracking import connection
from metriscope.tracking import wandb as tracking
from metriscope.tracking.base import LoggedTable, Picture
from metriscope.tracking.connection import connect
from metriscope.tracking.guarded import GuardedLogger

pytestmark = pytest.mark.usefixtures("no_account")


def config(mode: str = "auto") -> dict[str, Any]:
    options: dict[str, Any] = {
        "mode": mode,
        "project": "metriscope",
        "entity": None,
        "group": "digits/mlp",
        "init_timeout": 5,
    }
    options |= {"job_type": "default", "tags": ["tiny"], "name": "triplet-all-seed0"}
    places = {"paths": {"data_dir": "/home/me/data"}, "dataset": {"name": "mnist", "data_dir": "/home/me/data"}}
    return {"seed": 0, "loss": {"name": "triplet", "margin": 0.2}, "logger": {"wandb": options}, **places}


def test_an_offline_run_holds_everything(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    logger = tracking.build_wandb(config(), tmp_path, "abc123")
    assert logger is not None
    said = [record.message for record in caplog.records if "wandb sync" in record.message]
    assert len(said) == 1
    assert "no API key" in said[0]
    assert logger.version == "abc123"
    logger.log_metrics({"epoch": 0, "train/loss_step": 0.5}, 0)
    logger.log_metrics({"epoch": 0, "val/recall_at_1": 0.75}, 0)
    figure, _ = panels(["empty"])
    logger.log_figures([save(figure, tmp_path / "figures" / "curves.png")])
    logger.log_summary({"best/val/recall_at_1": 0.75, "test/map_at_r": 0.5})
    logger.finish(3)
    kept = records(tmp_path)
    run = next(record.run for record in kept if record.HasField("run"))
    assert (run.run_id, run.project, run.run_group) == ("abc123", "metriscope", "digits/mlp")
    assert (run.job_type, run.display_name, list(run.tags)) == ("default", "triplet-all-seed0", ["tiny"])
    assert values(run.config.update)["loss.margin"] == 0.2
    assert values(run.config.update)["dataset.name"] == "mnist"
    assert "/home/me/data" not in values(run.config.update).values(), "folders of this machine stay here"
    rows = [values(record.history.item) for record in kept if record.HasField("history")]
    assert rows[0]["train/loss_step"] == 0.5
    assert rows[0]["val/recall_at_1"] == 0.75
    assert rows[0][tracking.STEP] == 0
    assert any("figures/curves" in key for row in rows for key in row)
    ends: dict[str, Any] = {}
    for record in kept:
        ends |= values(record.summary.update)
    assert ends["best/val/recall_at_1"] == 0.75
    assert ends["test/map_at_r"] == 0.5
    assert next(record.exit.exit_code for record in kept if record.HasField("exit")) == 3
    axes = {record.metric.name: record.metric.step_metric for record in kept if record.HasField("metric")}
    assert axes["train/loss_step"] == tracking.STEP
    assert axes["val/recall_at_1"] == "epoch"

    # W&B names its folders by the second.
    while list(tmp_path.glob(f"wandb/offline-run-{datetime.now():%Y%m%d_%H%M%S}-*")):
        time.sleep(0.05)
    resumed = tracking.build_wandb(config("offline"), tmp_path, "abc123", logged={"train/loss_step": 4})
    assert resumed is not None
    assert resumed.experiment is not logger.experiment
    for step in range(3, 7):
        resumed.log_metrics({"epoch": 1, "train/loss_step": float(step)}, step)
    resumed.finish()
    rows = [values(record.history.item) for record in records(tmp_path) if record.HasField("history")]
    assert [row["train/loss_step"] for row in rows] == [5.0, 6.0]
    assert [row["_step"] for row in rows] == [5, 6]


@pytest.mark.parametrize(("mode", "variable"), [("disabled", ""), ("auto", "disabled")])
def test_disabled_means_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, variable: str) -> None:
    monkeypatch.setenv("WANDB_MODE", variable)
    assert tracking.build_wandb(config(mode), tmp_path, "a") is None
    assert tracking.build_wandb({"logger": {"wandb": None}}, tmp_path, "a") is None
    assert not list(tmp_path.iterdir())


def test_an_unknown_mode_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "ofline")
    with pytest.raises(InputError, match="WANDB_MODE=ofline: choose one of auto, online"):
        tracking.build_wandb(config(), tmp_path, "a")


def test_a_run_that_cannot_go_online_goes_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    modes = []

    def start(mode: str, *_: Any) -> Any:
        modes.append(mode)
        if mode == "online":
            raise TimeoutError("no answer\nafter a while")
        settings, nothing = SimpleNamespace(root_dir="d"), lambda *_, **__: None
        return SimpleNamespace(project="p", id="i", name="n", dir="d/files", settings=settings, define_metric=nothing)

    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    monkeypatch.setattr(connection, "_init", start)
    assert tracking.build_wandb(config("online"), tmp_path, "a") is not None
    assert modes == ["online", "offline"]
    said = [record.message for record in caplog.records if record.name == tracking.__name__]
    assert said == ["W&B is offline (no answer): wandb sync d"]


def test_tables_and_files_go_along_on_request(tmp_path: Path) -> None:
    logger = tracking.build_wandb(config("offline"), tmp_path, "abc123")
    assert logger is not None
    pixels = np.zeros((4, 5, 3), dtype=np.uint8)
    table = LoggedTable(["query", "rank"], [[Picture(pixels, "a cat"), 3], [Picture(pixels, "a dog"), None]])
    logger.log_tables({"hardest": table})
    (tmp_path / "best.ckpt").write_bytes(b"weights")
    many = {f"val/measure_{i}": 0.25 for i in range(120)}
    logger.log_artifacts([tmp_path / "best.ckpt"], {"best/val/loss": 0.5, "train/loss": float("nan"), **many})
    logger.finish()
    assert not logger.unsent
    kept = records(tmp_path)
    rows = [values(record.history.item) for record in kept if record.HasField("history")]
    assert {"tables/hardest._type": "table-file", "tables/hardest.nrows": 2}.items() <= rows[0].items()
    sent = [record.artifact for record in kept if record.HasField("artifact")]
    model = next(one for one in sent if one.type == "model")
    assert (model.name, sorted(model.aliases)) == ("triplet-all-seed0-abc123-model", ["best", "latest"])
    described = json.loads(model.metadata)
    assert described["best"] == {"val/loss": 0.5}
    assert (len(described), len(described["val"])) == (2, 120)
    assert [entry.local_path for entry in model.manifest.contents] == [str(tmp_path / "best.ckpt")]


def test_files_that_a_dead_server_does_not_take_are_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    logger = GuardedLogger(tracking.Wandb(SimpleNamespace(project="p", id="i", name="n", settings=SimpleNamespace(
        root_dir="."), log=None)), "W&B", sync="wandb sync d")  # fmt: skip
    logger.log_artifacts([tmp_path / "gone.ckpt"], {})
    logger.log_tables({"classes": LoggedTable(["class"], [["a"]])})
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("W&B could not take the files (")
    assert logger.unsent


def test_a_server_that_dies_after_the_start_is_one_line_with_the_command_that_sends_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def finish(exit_code: int) -> None:
        raise TimeoutError("Timed out finishing run.")

    nothing: Any = lambda *_, **__: None  # noqa: E731
    settings = SimpleNamespace(root_dir="d")
    known = {"project": "p", "id": "i", "name": "n", "dir": "d/files", "settings": settings, "url": "u", "step": 0}
    run = SimpleNamespace(**known, define_metric=nothing, log=nothing, finish=finish)
    monkeypatch.setattr(connection, "choose_mode", lambda *_: ("online", ""))
    monkeypatch.setattr(connection, "_init", lambda *_: run)
    logger = tracking.build_wandb(config("online"), tmp_path, "a")
    assert logger is not None
    logger.log_metrics({"a": 1.0}, 0)
    assert not logger.unsent
    caplog.clear()
    logger.finish()
    assert logger.unsent
    assert caplog.messages == ["W&B could not finish (Timed out finishing run.): wandb sync d sends what is missing"]


def test_a_folder_named_wandb_is_not_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import sys
    from types import ModuleType

    monkeypatch.setitem(sys.modules, "wandb", ModuleType("wandb"))
    assert tracking.build_wandb(config(), tmp_path, "a") is None
    assert len(caplog.messages) == 1
    assert "not installed" in caplog.messages[0]


def test_no_failure_reaches_the_run_and_one_warning_is_enough(caplog: pytest.LogCaptureFixture) -> None:
    ended = []

    class Broken(SimpleNamespace):
        step = 0

        def define_metric(self, *args: Any, **kwargs: Any) -> None:
            pass

        def log(self, *args: Any, **kwargs: Any) -> None:
            raise ConnectionError("gone")

        def finish(self, exit_code: int) -> None:
            ended.append(exit_code)
            raise ConnectionError("still gone")

    run = Broken(project="p", id="i", name="n", settings=SimpleNamespace(root_dir="."))
    logger = GuardedLogger(tracking.Wandb(run), "W&B")
    for step in range(3):
        logger.log_metrics({"a": 1.0}, step)
    logger.log_figures([Path("missing.png")])
    logger.log_summary({"a": 1})
    assert caplog.messages == ["W&B could not log (gone): the run goes on without it"]
    logger.finish(1)
    assert ended == [1], "W&B is told the end even so"
    assert len(caplog.messages) == 1


def test_without_a_key_nothing_is_asked() -> None:
    with pytest.raises(InputError, match="no API key for W&B"):
        connect()
