"""Runs whose files are broken, lost or taken away, and what the same command makes of them."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from interruptions import (
    LAST_OF_EPOCH,
    MID_EPOCH,
    At,
    folders_of_a_module,  # noqa: F401
    interrupt,
    left_by_undisturbed_runs,  # noqa: F401
    record,
    runs_in_one_folder,  # noqa: F401
    same,
    state,
    stopped,
    the_folder,
    traces,
    undisturbed_runs,  # noqa: F401
)
from tiny_runs import TINY

from metriscope.app import train
from metriscope.cli import train as main
from metriscope.errors import InputError, RunError
from metriscope.run.history import read_history
from metriscope.tracking.checkpoints import WholeCheckpoints


def flip(path):
    """One bit in the middle of a file, which torch would load as another number."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def other(path):
    torch.save({"state_dict": {"a": torch.zeros(2)}, "global_step": 3}, path)


def of_another_network(path):
    content = torch.load(path, weights_only=True)
    key = next(iter(content["state_dict"]))
    content["state_dict"][key] = torch.zeros(77)
    torch.save(content, path)


def of_other_data(path):
    content = torch.load(path, weights_only=True)
    content["DataModule"]["fingerprint"]["content"]["examples"] += 1
    torch.save(content, path)


@pytest.mark.parametrize("spoil", [flip, half, other, of_another_network, of_other_data, Path.unlink])
def test_a_broken_checkpoint_is_set_aside_and_the_run_goes_on_from_the_one_before(
    tiny, watch, undisturbed, caplog, spoil
):
    wanted = undisturbed()
    watch(At(interrupt()))
    folder = stopped(tiny)
    before = torch.load(folder / "checkpoints" / "previous.ckpt", weights_only=True)
    assert (before["global_step"], state(folder)["global_step"]) == (5, 8)
    spoil(folder / "checkpoints" / "last.ckpt")
    watch()
    caplog.clear()
    train(tiny())
    same(traces(folder), wanted)
    warned = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    assert len(warned) == (spoil is not Path.unlink)
    assert all("last.ckpt" in line and "set aside as last.ckpt.aside" in line for line in warned)
    assert (folder / "last.ckpt.aside").exists() == (spoil is not Path.unlink)
    assert record(folder)["resumed"] == 1
    assert not (folder / "checkpoints" / "previous.ckpt").exists()


@pytest.mark.parametrize(("names", "lines"), [(("last", "previous"), 3), (("best",), 4)])
def test_without_a_whole_checkpoint_a_run_begins_afresh(tiny, watch, undisturbed, caplog, names, lines):
    """Without best.ckpt, too: there would be nothing to test at the end."""
    wanted = undisturbed()
    watch(At(interrupt()))
    folder = stopped(tiny)
    for name in names:
        flip(folder / "checkpoints" / f"{name}.ckpt")
    watch()
    caplog.clear()
    train(tiny())
    same(traces(folder), wanted)
    assert record(folder)["resumed"] == 0
    warned = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    assert len(warned) == lines
    assert warned[-1] == f"no checkpoint of {folder} can be used: it is trained afresh"


@pytest.mark.usefixtures("short_launch")
def test_a_broken_checkpoint_does_not_stop_a_sweep(tiny, watch, undisturbed, outputs, monkeypatch):
    wanted = undisturbed()
    watch(At(interrupt()))
    folder = stopped(tiny)
    flip(folder / "checkpoints" / "last.ckpt")
    watch()
    monkeypatch.setattr("sys.argv", ["train.py", "-m", *TINY, "seed=0,1", f"paths.output_dir={outputs}"])
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 0
    same(traces(folder), wanted)


def test_a_run_that_must_resume_does_not_begin_afresh(tiny, watch):
    watch(At(interrupt(), step=1))
    flip(stopped(tiny) / "checkpoints" / "last.ckpt")
    watch()
    with pytest.raises(InputError, match=r"resume=must, but .* holds no whole checkpoint: set resume=auto"):
        train(tiny("resume=must"))


@pytest.mark.parametrize("spoil", [flip, of_another_network, Path.unlink])
def test_without_the_best_checkpoint_nothing_is_tested(tiny, watch, undisturbed, spoil):
    wanted = undisturbed()
    folder = the_folder(tiny())
    watch(At(lambda: spoil(folder / "checkpoints" / "best.ckpt"), "on_train_end", 10))
    with pytest.raises(RunError, match=r"best\.ckpt .*: nothing is tested; the same command trains .* afresh"):
        train(tiny())
    assert record(folder)["status"] == "failed"
    assert not (folder / "summary.json").exists()
    watch()
    train(tiny())
    same(traces(folder), wanted)


def moved(folder):
    folder.rename(folder.with_name("elsewhere"))


@pytest.mark.parametrize("take", [moved, shutil.rmtree])
@pytest.mark.parametrize(
    "moment", [("on_train_batch_end", LAST_OF_EPOCH), ("on_train_batch_end", MID_EPOCH), ("on_test_start", 10)]
)
def test_a_folder_that_is_taken_away_ends_the_run(tiny, watch, moment, take):
    cfg = tiny()
    folder = the_folder(cfg)
    watch(At(lambda: take(folder), *moment))
    with pytest.raises(RunError, match=r"was taken away while the run wrote to it: run again"):
        train(cfg)
    assert not folder.exists()


def test_a_run_killed_right_after_a_checkpoint_has_logged_its_epoch(tiny, watch, monkeypatch):
    """The history is never behind the checkpoint."""
    seen = []
    save = WholeCheckpoints.save_checkpoint

    def saved(self, checkpoint, path, *args, **kwargs):
        save(self, checkpoint, path, *args, **kwargs)
        trained = [row["epoch"] for row in read_history(self.folder / "metrics.csv") if "train/loss" in row]
        seen.append((Path(path).name, trained))

    monkeypatch.setattr(WholeCheckpoints, "save_checkpoint", saved)
    watch()
    train(tiny())
    assert [trained for name, trained in seen if name == "last.ckpt"] == [[0], [0, 1]]


@pytest.mark.parametrize(
    ("spoil", "epochs"),
    [
        (lambda text: b"", "of epoch 0 "),
        (lambda text: text[: text.index(b"\n0,3,") + 1], "of epoch 0 "),
        (lambda text: text[: text.index(b"\n1,7,") + 1], "of epoch 1 "),
        (lambda text: b"\0" * len(text), "of epoch 0 "),
        (lambda text: text.replace(b"\n0,4,", b"\n\0\0\0,"), "of epoch 0 "),
        (lambda text: text.replace(b"epoch,step,", b"epoch,stop,"), "of epoch 0 "),
    ],
    ids=["emptied", "cut in the first epoch", "cut in the second", "NUL bytes", "NUL bytes in a line", "no step"],
)
def test_lost_rows_of_the_history_are_one_warning(tiny, watch, caplog, spoil, epochs):
    watch(At(interrupt()))
    folder = stopped(tiny)
    history = folder / "metrics.csv"
    history.write_bytes(spoil(history.read_bytes()))
    watch()
    caplog.clear()
    train(tiny())
    warned = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    assert len(warned) == 1
    assert f"metrics.csv has lost rows {epochs}before the checkpoint" in warned[0]
    assert record(folder)["status"] == "finished"
    assert {row["step"] for row in read_history(history)} >= {8, 9, 10}


def test_a_figure_that_fails_leaves_a_finished_run(tiny, monkeypatch, caplog):
    def fail(*args, **kwargs):
        raise ValueError("no such symbol: $10_to_$")

    monkeypatch.setattr("metriscope.ending.projection", fail)
    monkeypatch.setattr("metriscope.ending.write_history_figures", lambda *_: [])
    outcome = train(tiny("trainer.max_epochs=1", "logger=files"))
    assert record(outcome.folder)["status"] == "finished"
    assert json.loads((outcome.folder / "summary.json").read_text()) == pytest.approx(outcome.metrics)
    warned = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    assert warned == ["the figure projection is left out (ValueError: no such symbol: $10_to_$)"]
