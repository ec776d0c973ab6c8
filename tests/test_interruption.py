"""Runs that are stopped, break or are killed, and what the same command makes of them afterwards."""

import errno
import json
import os
import pkgutil
import signal
from contextlib import suppress

import pytest
import pytorch_lightning as pl
import torch
from interruptions import (
    LAST_BUT_ONE,
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

import metriscope.build.run
from metriscope.app import train
from metriscope.cli import train as main
from metriscope.data.datasets import synthetic
from metriscope.errors import RunError


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


def strike_in(monkeypatch, place, number=signal.SIGTERM, then=lambda: None):
    """Sends a signal whenever the function at ``place`` is called."""
    real = pkgutil.resolve_name(place)

    def struck(*args, **kwargs):
        try:
            os.kill(os.getpid(), number)
        finally:
            then()
        return real(*args, **kwargs)

    monkeypatch.setattr(place, struck)


@pytest.mark.parametrize(
    ("place", "number"),
    [
        ("metriscope.app.load_checked", signal.SIGINT),
        ("metriscope.build.run.learner_of", signal.SIGTERM),
        ("metriscope.build.loggers.build_loggers", signal.SIGHUP),
        ("metriscope.ending.report", signal.SIGTERM),
        ("metriscope.ending.write_json", signal.SIGINT),
    ],
)
def test_a_signal_outside_of_training(tiny, undisturbed, monkeypatch, place, number):
    words = ["trainer.max_epochs=1"]
    wanted = undisturbed(*words)
    with monkeypatch.context() as patched:
        strike_in(patched, place, number)
        folder = stopped(tiny, *words)
    assert (record(folder)["status"], record(folder)["reason"]) == ("interrupted", f"stopped by {number.name}")
    train(tiny(*words))
    same(traces(folder), wanted)


def test_what_a_signal_breaks_is_no_failure(tiny, monkeypatch):
    def break_down():
        raise RuntimeError("half of it\nis there")

    strike_in(monkeypatch, "metriscope.build.run.learner_of", then=break_down)
    reason = r"stopped by SIGTERM \(RuntimeError: half of it\)"
    with pytest.raises(KeyboardInterrupt, match=f"{reason}: the same command resumes"):
        train(tiny())
    found = record(the_folder(tiny()))
    assert found["status"] == "interrupted"


def test_a_signal_that_was_swallowed_stops_the_run_before_its_next_step(tiny, monkeypatch):
    def swallow(*args, **kwargs):
        with suppress(BaseException):
            os.kill(os.getpid(), signal.SIGTERM)
        return real(*args, **kwargs)

    real = metriscope.build.run.data_of
    monkeypatch.setattr("metriscope.build.run.data_of", swallow)
    folder = stopped(tiny)
    assert not (folder / "metrics.csv").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_record_is_written(tiny, monkeypatch, number):
    """The run begins or ends first: its record says how, and the process stops all the same."""
    with monkeypatch.context() as patched:
        strike_in(patched, "metriscope.run.folder.Run.start", number)
        assert record(stopped(tiny))["status"] == "interrupted"
    strike_in(monkeypatch, "metriscope.run.folder.Run.end", number)
    with pytest.raises(KeyboardInterrupt, match=rf"stopped by {number.name}: .* is finished"):
        train(tiny())
    assert record(the_folder(tiny()))["status"] == "finished"


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


def test_a_run_that_stopped_early_does_not_train_on(tiny, watch, undisturbed):
    words = ["trainer.max_epochs=4", "callbacks=early_stopping", "callbacks.early_stopping.patience=1"]
    words += ["+callbacks.early_stopping.min_delta=1"]
    wanted = undisturbed(*words)
    watch(At(interrupt(), "on_test_epoch_start", step=10))
    folder = stopped(tiny, *words)
    assert state(folder)["epoch"] == 1
    watch()
    train(tiny(*words))
    same(traces(folder), wanted)


@pytest.mark.parametrize(
    "words",
    [
        ["loss=contrastive", "memory=xbm", "memory.size=24"],
        ["loss=proxy_anchor", "optimizer=adam", "scheduler=plateau", "scheduler.patience=0"],
        ["loss=sum", "loss.losses=[{name: remembering, _target_: toy_parts.Remembering, weight: 1.0}]"],
        pytest.param(["loss=palm", "diagnostics.greediness.prototype_usage=true"], marks=pytest.mark.processes),
        pytest.param(["loss=simlap", "loss.hidden=16", "loss.class_size=8"], marks=pytest.mark.processes),
    ],
    ids=["memory", "parameters", "state of samples", "prototypes", "gates"],
)
def test_stopped_after_every_step(tiny, watch, undisturbed, words):
    wanted = undisturbed(*words)
    for step in range(9):
        watch(At(interrupt(), step=step))
        folder = stopped(tiny, *words)
        assert state(folder)["global_step"] == step + 1
    watch()
    train(tiny(*words))
    assert record(folder)["resumed"] == 9
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


@pytest.mark.parametrize("words", [[], ["scheduler=plateau", "scheduler.patience=0"]], ids=["", "plateau"])
def test_a_killed_run_resumes_from_its_last_epoch(tiny, watch, undisturbed, words):
    """SIGKILL leaves no chance to save: a process of its own dies in its second epoch."""
    wanted = undisturbed(*words)
    watch(At(interrupt(signal.SIGKILL)))
    child = os.fork()
    if child == 0:
        try:
            train(tiny(*words))
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    cfg = tiny(*words)
    folder = the_folder(cfg)
    assert record(folder)["status"] == "running"
    assert state(folder)["global_step"] == 5
    watch()
    outcome = train(cfg)
    assert record(outcome.folder)["resumed"] == 1
    same(traces(outcome.folder), wanted)
