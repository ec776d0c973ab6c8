import logging
import time
from types import SimpleNamespace

import pytest

from metriscope.callbacks.progress import EpochLines, FirstStep, epoch_line, progress
from metriscope.tracking import console


def test_an_epoch_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    metrics = {"train/loss": 0.5, "train/active_ratio": 0.25, "val/recall_at_1": 0.9, "val/map_at_r": 0.75}
    assert epoch_line(0, -1, {}) == "epoch 1"
    trainer = SimpleNamespace(is_global_zero=True, current_epoch=1, max_epochs=3, callback_metrics=metrics)
    caplog.set_level(logging.INFO)
    EpochLines(logging.INFO).on_train_epoch_end(trainer, None)  # type: ignore[arg-type]
    (line,) = caplog.messages
    assert line.startswith("epoch 2/3  loss 0.5  active ratio 0.25  val Recall@1 0.9  val MAP@R 0.75  ")


def test_the_first_step_says_how_long_the_start_took(caplog: pytest.LogCaptureFixture) -> None:
    now = time.monotonic()
    first = FirstStep(SimpleNamespace(begun=now - 10, imported=now - 8))  # type: ignore[arg-type]
    caplog.set_level(logging.INFO)
    for _ in range(2):
        first.on_train_batch_end(SimpleNamespace(is_global_zero=True))  # type: ignore[arg-type]
    assert caplog.messages == ["first step after 10.0 s, 2.0 s of them for checks and imports"]


def test_under_pytest_nobody_watches() -> None:
    assert not console.is_interactive()
    assert [type(callback) for callback in progress()] == [EpochLines]
