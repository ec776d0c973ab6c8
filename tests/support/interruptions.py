"""Moments at which a run is interrupted, and what it leaves compared to the bit."""

import os
import signal

import pytorch_lightning as pl
import torch
from faults.traces import differences

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
