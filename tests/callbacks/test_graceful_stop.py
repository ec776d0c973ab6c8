"""The callback that stops a run at a signal, by itself; tests/test_app.py has it in runs."""

import os
import signal
from contextlib import suppress
from types import SimpleNamespace

import pytest

from metriscope.callbacks.graceful_stop import GracefulStop
from metriscope.errors import Interrupted
from metriscope.signals import Stop


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_waits_for_the_step_and_the_second_does_not(tmp_path, number):
    stop, saved = Stop(), []
    callback = GracefulStop(stop, tmp_path / "last.ckpt", 1)
    between = SimpleNamespace(
        world_size=1, is_last_batch=False, accumulate_grad_batches=1, save_checkpoint=saved.append
    )
    with suppress(Interrupted), stop.listening(), stop.waiting():
        callback.on_train_batch_end(between, None, None, None, 0)
        os.kill(os.getpid(), number)
        assert not saved
        with pytest.raises(Interrupted, match=number.name):
            callback.on_train_batch_end(between, None, None, None, 1)
        assert saved == [tmp_path / "last.ckpt"]
        with pytest.raises(KeyboardInterrupt, match=number.name):
            os.kill(os.getpid(), number)


def test_processes_that_train_together_stop_after_the_same_step(tmp_path):
    """This one was told nothing, another one was; they ask each other at every second step."""
    stop, saved = GracefulStop(Stop(), tmp_path / "last.ckpt", 2), []
    strategy = SimpleNamespace(root_device="cpu", reduce=lambda number, reduce_op: number + signal.SIGTERM)
    trainer = SimpleNamespace(
        world_size=2, is_last_batch=False, accumulate_grad_batches=1, strategy=strategy, save_checkpoint=saved.append
    )
    trainer.global_step = 1
    stop.on_train_batch_end(trainer, None, None, None, 0)
    assert not saved
    trainer.global_step = 2
    with pytest.raises(Interrupted, match="SIGTERM"):
        stop.on_train_batch_end(trainer, None, None, None, 1)
    assert saved == [tmp_path / "last.ckpt"]
