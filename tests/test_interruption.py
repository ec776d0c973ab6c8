"""Runs that are stopped, break or are killed, and what the same command makes of them afterwards."""

import errno
import json
import os
import shutil
import signal
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from interruptions import LAST_BUT_ONE, LAST_OF_EPOCH, MID_EPOCH, At, interrupt, same, state, traces
from omegaconf import OmegaConf
from tiny_runs import TINY

from metriscope.app import train
from metriscope.cli import train as main
from metriscope.data.datasets import synthetic
from metriscope.errors import InputError, RunError
from metriscope.run.history import read_history
from metriscope.run.identity import folder_of
from metriscope.tracking.checkpoints import WholeCheckpoints


def record(folder):
    return json.loads((folder / "run.json").read_text())


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    return tmp_path_factory.mktemp("outputs")


@pytest.fixture
def tiny(tiny, outputs):
    """Runs of all tests go to one folder, emptied before each test: it is part of what they leave."""
    shutil.rmtree(outputs, ignore_errors=True)

    def compose(*words):
        cfg = tiny(*words)
        cfg.paths.output_dir = str(outputs)
        return cfg

    return compose


@pytest.fixture(scope="module")
def left():
    """What undisturbed runs have left, by the words of their config."""
    return {}


@pytest.fixture
def undisturbed(tiny, watch, left):
    def go(*words):
        if words not in left:
            watch()
            outcome = train(tiny(*words))
            left[words] = traces(outcome.folder)
            shutil.rmtree(outcome.folder)
        return left[words]

    return go


def stopped(tiny, *words):
    """The folder of a run that a signal stops."""
    with pytest.raises(KeyboardInterrupt, match=r"stopped by SIG\w+: the same command resumes ") as caught:
        train(tiny(*words))
    return Path(str(caught.value).rpartition(" resumes ")[2])


@pytest.mark.parametrize(
    ("hook", "step"),
    [
        ("on_train_batch_end", 0),
        ("on_train_batch_end", MID_EPOCH),
        ("on_train_batch_end", LAST_OF_EPOCH),
        ("on_train_batch_end", LAST_BUT_ONE),
        ("on_train_batch_end", 9),
        ("on_before_backward", 3),
        ("on_before_optimizer_step", 8),
        ("on_validation_start", 5),
        ("on_validation_epoch_end", 10),
        ("on_test_epoch_start", 10),
    ],
)
def test_a_stopped_run_goes_on_as_if_nothing_had_happened(tiny, watch, undisturbed, hook, step):
    words = ["optimizer=sgd", "scheduler=cosine", "miner=random", "backbone.freeze_batch_norm=false"]
    wanted = undisturbed(*words)
    watch(At(interrupt(), hook, step))
    folder = stopped(tiny, *words)
    found = record(folder)
    assert (found["status"], found["reason"]) == ("interrupted", "stopped by SIGINT")
    assert found["ended"]
    assert state(folder)["global_step"] > 0
    watch()
    outcome = train(tiny(*words))
    assert outcome.folder == folder
    assert record(folder)["resumed"] == 1
    same(traces(folder), wanted)


@pytest.mark.parametrize(
    "words",
    [
        ["trainer.accumulate_grad_batches=2"],
        ["memory=xbm", "memory.size=24", "memory.warmup_steps=2"],
        ["optimizer=adamw", "scheduler=plateau", "loss=contrastive"],
        ["sampler=shuffle"],
        ["sampler._target_=own_parts.Drawn", "scheduler._target_=own_parts.falling", "~scheduler.warmup_epochs"],
    ],
    ids=" ".join,
)
def test_whatever_the_run_is_made_of(tiny, watch, undisturbed, words):
    wanted = undisturbed(*words)
    watch(At(interrupt(), step=MID_EPOCH))
    folder = stopped(tiny, *words)
    watch()
    train(tiny(*words))
    same(traces(folder), wanted)


def test_stopped_again_and_again(tiny, watch, undisturbed):
    wanted = undisturbed()
    for step in (1, 2, 6):
        watch(At(interrupt(), step=step))
        stopped(tiny)
    watch()
    outcome = train(tiny())
    assert record(outcome.folder)["resumed"] == 3
    same(traces(outcome.folder), wanted)


def test_ctrl_c_is_exit_code_130_and_one_line(tiny, watch, monkeypatch, capsys, tmp_path):
    watch(At(interrupt()))
    monkeypatch.setattr("sys.argv", ["train.py", *TINY, f"paths.output_dir={tmp_path}"])
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 130
    line = capsys.readouterr().err
    assert line.startswith("metriscope: stopped by SIGINT: the same command resumes ")
    assert line.count("\n") == 1


def test_never_and_must_on_a_stopped_run(tiny, watch):
    watch(At(interrupt()))
    stopped(tiny)
    watch()
    afresh = train(tiny("resume=never"))
    assert record(afresh.folder)["resumed"] == 0
    kept = afresh.folder.with_name(f"{afresh.folder.name}.1")
    assert record(kept)["status"] == "interrupted"
    assert train(tiny("resume=must")).metrics == json.loads((afresh.folder / "summary.json").read_text())


def the_folder(cfg):
    return folder_of(OmegaConf.to_container(cfg, resolve=True))


def finite(checkpoint):
    return all(tensor.isfinite().all() for tensor in checkpoint["state_dict"].values() if tensor.is_floating_point())


def test_a_loss_that_explodes(tiny):
    cfg = tiny("optimizer=sgd", "optimizer.lr=1e30", "head.normalize=false", "distance=squared_euclidean")
    with pytest.raises(RunError, match=r"not finite at step \d \(epoch 0\).*optimizer\.lr"):
        train(cfg)
    folder = the_folder(cfg)
    found = record(folder)
    assert found["status"] == "failed"
    assert "not finite at step" in found["reason"]
    assert not list(folder.rglob("*.ckpt")), "there was no good state to keep"


def test_nan_in_the_data_keeps_the_last_good_checkpoint(tiny, watch):
    """The data go bad after one epoch: its checkpoints stay as they are, and the run can go on once they are good."""
    good = state(train(tiny("trainer.max_epochs=1")).folder)["state_dict"]

    class Poison(pl.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            if trainer.global_step == MID_EPOCH:
                batch[0][3, 2] = float("nan")

    watch(Poison())
    cfg = tiny()
    with pytest.raises(RunError, match=r"embeddings not finite at step 7 \(epoch 1\)"):
        train(cfg)
    folder = the_folder(cfg)
    assert record(folder)["status"] == "failed"
    for name in ("last", "best"):
        kept = state(folder, name)
        assert kept["global_step"] == 5
        assert finite(kept)
        for key, tensor in kept["state_dict"].items():
            assert torch.equal(tensor, good[key])
    watch()
    assert record(train(tiny()).folder)["status"] == "finished"


def test_nan_in_the_validation_data(tiny, monkeypatch):
    """Nothing is selected on numbers that are none."""
    load = synthetic.load

    def poisoned(**options):
        source = load(**options)
        source.test.inputs[3, 2] = float("nan")
        return source

    monkeypatch.setattr(synthetic, "load", poisoned)
    cfg = tiny("trainer.max_epochs=1")
    with pytest.raises(RunError, match="1 of 100 embeddings hold NaN or Inf"):
        train(cfg)
    folder = the_folder(cfg)
    assert record(folder)["status"] == "failed"


def test_a_bug_is_recorded_and_raised(tiny, watch):
    watch(At(lambda: 1 / 0))
    cfg = tiny()
    with pytest.raises(ZeroDivisionError):
        train(cfg)
    folder = the_folder(cfg)
    assert record(folder)["status"] == "failed"
    assert record(folder)["reason"].startswith("ZeroDivisionError")


def test_a_full_disk_is_one_line(tiny, watch):
    def full():
        raise OSError(errno.ENOSPC, "No space left on device")

    watch(At(full))
    with pytest.raises(RunError, match=r"cannot write to .*No space left on device"):
        train(tiny())


def test_a_killed_run_resumes_from_its_last_epoch(tiny, watch, undisturbed):
    """SIGKILL leaves no chance to save: a process of its own dies in its second epoch."""
    wanted = undisturbed()
    watch(At(interrupt(signal.SIGKILL)))
    child = os.fork()
    if child == 0:
        try:
            train(tiny())
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    cfg = tiny()
    folder = the_folder(cfg)
    assert record(folder)["status"] == "running"
    assert state(folder)["global_step"] == 5
    watch()
    outcome = train(cfg)
    assert record(outcome.folder)["resumed"] == 1
    same(traces(outcome.folder), wanted)


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


@pytest.mark.parametrize("spoil", [flip, half, other, of_another_network, Path.unlink])
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


@pytest.mark.parametrize("spoil", [flip, Path.unlink])
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


@pytest.mark.parametrize("step", [LAST_OF_EPOCH, MID_EPOCH, None])
def test_a_folder_that_is_taken_away_ends_the_run(tiny, watch, step):
    """None: after the training, so that only the results remain to be written."""
    cfg = tiny()
    folder = the_folder(cfg)
    moment = ("on_test_start", 10) if step is None else ("on_train_batch_end", step)
    watch(At(lambda: folder.rename(folder.with_name("elsewhere")), *moment))
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
    outcome = train(tiny("trainer.max_epochs=1", "logger=files"))
    assert record(outcome.folder)["status"] == "finished"
    assert json.loads((outcome.folder / "summary.json").read_text()) == pytest.approx(outcome.metrics)
    warned = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    assert warned == ["the figure projection is left out (no such symbol: $10_to_$)"]
    assert (outcome.folder / "figures" / "training_curves.png").exists()
