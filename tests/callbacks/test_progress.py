import logging
from types import SimpleNamespace

import pytest

from metriscope.callbacks.progress import EpochLines, epoch_line, progress
from metriscope.tracking import console


def test_an_epoch_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    metrics = {"train/loss": 0.5, "train/active_ratio": 0.25, "val/recall_at_1": 0.9, "val/map_at_r": 0.75}
    assert epoch_line(0, -1, {}) == "epoch 1"
    trainer = SimpleNamespace(is_global_zero=True, current_epoch=1, max_epochs=3, callback_metrics=metrics)
    caplog.set_level(logging.INFO)
    EpochLines(logging.INFO).on_train_epoch_end(trainer, None)  # type: ignore[arg-type]
    (line,) = caplog.messages
    assert line.startswith("epoch 2/3  loss 0.5  active ratio 0.25  val Recall@1 0.9  val MAP@R 0.75  ")


def test_under_pytest_nobody_watches() -> None:
    assert not console.is_interactive()
    assert [type(callback) for callback in progress()] == [EpochLines]
