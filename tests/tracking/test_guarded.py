"""Loggers as guests: whatever they raise is one warning, and what they lack is not called."""

import copy
import pickle
from pathlib import Path

from pytorch_lightning.loggers import CSVLogger

from metriscope.tracking.base import LoggedTable
from metriscope.tracking.guarded import GuardedLogger


class Plain:
    """Only what a logger needs."""

    def __init__(self):
        self.rows = []

    def log_metrics(self, metrics, step):
        self.rows.append((step, metrics))


class Failing:
    """Raises in every method."""

    def __init__(self):
        self.asked = []

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)

        def method(*args, **kwargs):
            self.asked.append(name)
            raise OSError(f"{name} failed\nat length")

        return method


def tell_all(logger):
    logger.log_hyperparams({"seed": 0})
    logger.log_metrics({"epoch": 0, "train/loss": 0.5}, 0)
    logger.log_figures([Path("a.png")])
    logger.log_summary({"test/map_at_r": 0.5})
    logger.log_tables({"classes": LoggedTable(["class"], [["a"]])})
    logger.log_artifacts([Path("best.ckpt")], {})
    logger.log_graph(None)
    logger.after_save_checkpoint(None)
    logger.save()
    logger.finalize("success")
    logger.finish(1)


def test_one_warning_then_silence_and_the_end_is_told_all_the_same(caplog):
    inner = Failing()
    logger = GuardedLogger(inner, "logger.more.mine")
    tell_all(logger)
    said = "logger.more.mine could not take the config (log_hyperparams failed): the run goes on without it"
    assert caplog.messages == [said]
    assert inner.asked == ["log_hyperparams", "finish"]


def test_what_is_not_there_is_not_called(caplog):
    inner = Plain()
    tell_all(GuardedLogger(inner, "plain"))
    assert inner.rows == [(0, {"epoch": 0.0, "train/loss": 0.5})]
    assert not caplog.messages


def test_a_resumed_run_sends_nothing_twice():
    inner = Plain()
    logger = GuardedLogger(inner, "plain", {"train/loss_step": 4})
    for step in range(3, 7):
        logger.log_metrics({"epoch": 1, "train/loss_step": step}, step)
    logger.log_metrics({"epoch": 1, "val/loss": 2}, 4)
    assert [step for step, _ in inner.rows] == [5, 6, 4]


def test_a_logger_of_lightning_leaves_its_own_files(tmp_path):
    logger = GuardedLogger(CSVLogger(tmp_path, name="csv", version=""), "csv")
    logger.log_hyperparams({"seed": 0})
    logger.log_metrics({"train/loss": 0.5}, 3)
    logger.log_figures([tmp_path / "missing.png"])
    logger.finish()
    assert (tmp_path / "csv" / "metrics.csv").read_text().split() == ["step,train/loss", "3,0.5"]
    assert (logger.name, logger.version, logger.save_dir) == ("csv", "", str(tmp_path))


def test_it_travels_to_other_processes():
    logger = GuardedLogger(CSVLogger("nowhere"), "csv", {"a": 1})
    assert pickle.loads(pickle.dumps(logger)).name == copy.deepcopy(logger).name == "lightning_logs"
