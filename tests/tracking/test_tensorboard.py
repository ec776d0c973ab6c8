"""TensorBoard beside a run's own files."""

import importlib.util
import json
from collections import defaultdict

import pytest
from PIL import Image

from metriscope.errors import InputError
from metriscope.files import write_json
from metriscope.run.history import points, read_history
from metriscope.tracking.tensorboard import TensorBoard

pytest.importorskip("tensorboard")


def events(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0})
    found.Reload()
    return found


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_run_leaves_event_files_and_nothing_else_changes(run):
    plain, board = (run(f"logger={name}", f"study={name}") for name in ("files", "tensorboard"))
    further = files(board.folder) - files(plain.folder)
    assert {name.split("/")[0] for name in further} == {"tensorboard"}
    assert sum("events.out.tfevents" in name for name in further) >= 1
    assert files(plain.folder) <= files(board.folder)
    for name in ("metrics.csv", "summary.json"):
        assert (board.folder / name).read_bytes() == (plain.folder / name).read_bytes()
    found = events(board.folder / "tensorboard")
    history = read_history(board.folder / "metrics.csv")
    tags = set(found.Tags()["scalars"])
    assert {key for row in history for key in row if "/" in key} <= tags
    for key in ("train/loss_step", "val/recall_at_1"):
        logged = [(event.step, event.value) for event in found.Scalars(key)]
        assert logged == [pytest.approx(pair) for pair in zip(*points(history, key, "step"), strict=True)]
    assert {f"summary/{key}" for key in board.metrics} | {"summary/epochs"} <= tags
    assert found.Scalars("summary/epochs")[0].value == 2
    images = {f"figures/{path.stem}" for path in (board.folder / "figures").glob("*.png")}
    assert images
    assert images == set(found.Tags()["images"])
    assert "_hparams_/session_start_info" in found.summary_metadata


def test_a_resumed_run_goes_on_without_a_point_twice(run, monkeypatch):
    from metriscope.callbacks.greediness import GreedinessMonitor

    whole = GreedinessMonitor.on_train_batch_end

    def stops(self, trainer, *args, **kwargs):
        whole(self, trainer, *args, **kwargs)
        if trainer.global_step == 8:
            raise RuntimeError("stopped")

    monkeypatch.setattr(GreedinessMonitor, "on_train_batch_end", stops)
    with pytest.raises(RuntimeError, match="stopped"):
        run("logger=tensorboard")
    monkeypatch.setattr(GreedinessMonitor, "on_train_batch_end", whole)
    outcome = run("logger=tensorboard")
    counts = defaultdict(int)
    for event in events(outcome.folder / "tensorboard").Scalars("train/loss_step"):
        counts[event.step] += 1
    assert dict(counts) == dict.fromkeys(range(10), 1)


def test_figures_of_any_mode_are_shown(tmp_path):
    Image.new("RGBA", (4, 3)).save(tmp_path / "see_through.png")
    logger = TensorBoard(tmp_path)
    logger.log_figures([tmp_path / "see_through.png"])
    logger.finalize("success")
    (image,) = events(tmp_path / "tensorboard").Images("figures/see_through")
    assert (image.width, image.height) == (4, 3)


def test_without_the_package_it_is_one_line(run, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "tensorboard" else find(name, *a))
    with pytest.raises(
        InputError,
        match=r"^logger\.more\.tensorboard: logging to TensorBoard needs a package: pip install tensorboard$",
    ):
        run("logger=tensorboard")


def test_a_run_that_cannot_resume_begins_with_a_clean_folder(run):
    outcome = run("logger=tensorboard", "trainer.max_epochs=1")
    before = files(outcome.folder / "tensorboard")
    for name in ("best", "last"):
        (outcome.folder / "checkpoints" / f"{name}.ckpt").unlink()
    record = outcome.folder / "run.json"
    write_json(record, {**json.loads(record.read_text()), "status": "failed"})
    run("logger=tensorboard", "trainer.max_epochs=1")
    after = files(outcome.folder / "tensorboard")
    assert not {name for name in before & after if "events" in name}
