"""Moments at which a run is interrupted, and what it leaves compared to the bit."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from faults.traces import differences
from omegaconf import OmegaConf

from metriscope.app import train
from metriscope.run.identity import folder_of

# 5 batches an epoch, 2 epochs: steps 0..9.
MID_EPOCH, LAST_OF_EPOCH, LAST_BUT_ONE = 7, 4, 8


class At(pl.Callback):
    """Does something at one moment of a run, once."""

    def __init__(self, action, hook="on_train_batch_end", step=MID_EPOCH):
        self.action = action
        self.step = step
        setattr(self, hook, self.strike)

    def strike(self, trainer, *args, **kwargs):
        batch = args[-1] if isinstance(args[-1], int) else None
        here = trainer.current_epoch * 5 + batch if batch is not None else trainer.global_step
        if here == self.step and self.action is not None:
            action, self.action = self.action, None
            action()


def interrupt(number=signal.SIGINT):
    return lambda: os.kill(os.getpid(), number)


def state(folder, name="last"):
    return torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)


def traces(folder):
    """What a disturbed run has to have in common with an undisturbed one, to the bit."""
    files = {name: (folder / name).read_bytes() for name in ("metrics.csv", "summary.json", "config.yaml")}
    return files, state(folder), state(folder, "best")


def same(one, other):
    """Every entry of both checkpoints, and the files; a failure says where two runs part."""
    files, *checkpoints = zip(one, other, strict=True)
    for mine, theirs in checkpoints:
        assert list(differences(theirs, mine)) == []
    for name in files[0]:
        assert files[0][name].decode().splitlines() == files[1][name].decode().splitlines()
    assert files[0] == files[1]


def the_folder(cfg):
    return folder_of(OmegaConf.to_container(cfg, resolve=True))


def record(folder):
    return json.loads((folder / "run.json").read_text())


@pytest.fixture(scope="module", name="outputs")
def folders_of_a_module(tmp_path_factory):
    return tmp_path_factory.mktemp("outputs")


@pytest.fixture(name="tiny")
def runs_in_one_folder(tiny, outputs):
    """Runs of all tests go to one folder, emptied before each test: it is part of what they leave."""
    shutil.rmtree(outputs, ignore_errors=True)

    def compose(*words):
        cfg = tiny(*words)
        cfg.paths.output_dir = str(outputs)
        return cfg

    return compose


@pytest.fixture(scope="module", name="left")
def left_by_undisturbed_runs():
    """What undisturbed runs have left, by the words of their config."""
    return {}


@pytest.fixture(name="undisturbed")
def undisturbed_runs(tiny, watch, left):
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


def goes_on_alike(compose, watch, *words, step=MID_EPOCH):
    """A run that a signal stops goes on as if nothing had happened."""
    watch()
    folder = train(compose(*words)).folder
    wanted = traces(folder)
    shutil.rmtree(folder)
    watch(At(interrupt(), step=step))
    assert stopped(compose, *words) == folder
    watch()
    train(compose(*words))
    assert record(folder)["resumed"] == 1
    same(traces(folder), wanted)
