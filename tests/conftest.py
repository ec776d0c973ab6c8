"""Runs as small as they come. This file also puts ``tests/`` on the path, where the oracles are."""

import gc

import pytest

from metriscope.app import train
from metriscope.config.compose import Composer
from metriscope.outcome import Outcome
from metriscope.sweeps.jobs import Refusal
from metriscope.sweeps.launch import Launcher

# 5 classes in 8 dimensions: 90 training, 10 validation and 100 test samples; an epoch of 5 batches of 20.
TINY = (
    "dataset=synthetic",
    "dataset.classes=5",
    "dataset.per_class=20",
    "dataset.dimension=8",
    "backbone.widths=[12]",
    "head.size=6",
    "sampler.batch_size=20",
    "evaluation.recall_at=[1,2]",
    "evaluation.classification=false",
    "trainer=cpu",
    "trainer.max_epochs=2",
    "trainer.log_every_n_steps=1",
    "logger=none",
)


# For all tests of a process: parts that configs have in common are read once.
COMPOSER = Composer()


def pytest_collection_finish():
    """All that is imported by now stays: the garbage collector would look through it again and again.

    Composing a config makes so many objects that a quarter of its time goes to the collector's default threshold.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000)


@pytest.fixture
def tiny(tmp_path):
    """Composes a config of a tiny run whose output goes below ``tmp_path``; overrides come on top.

    One thread: for matrices as small as these, a second one only waits for the first.
    """

    import torch  # not above: the process that only hands out the tests does without

    def compose(*overrides: str):
        cfg = COMPOSER([*TINY, *overrides])
        cfg.paths.output_dir = str(tmp_path / "outputs")
        return cfg

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield compose
    torch.set_num_threads(threads)


@pytest.fixture
def run(tiny):
    """Trains a tiny run in this process."""

    def go(*overrides: str) -> Outcome:
        return train(tiny(*overrides))

    return go


@pytest.fixture
def one_composer(monkeypatch):
    """All sweeps of all tests read the parts of a config once."""
    for module in ("plan", "search"):
        monkeypatch.setattr(f"metriscope.sweeps.{module}.Composer", lambda words=(): COMPOSER)


@pytest.fixture
def short_launch(monkeypatch, one_composer):
    """Jobs go straight to the task that Hydra's launcher was given, one after the other."""

    def launch(self, jobs):
        task = self._launcher.task_function
        results = {job.folder: task(COMPOSER(job.words)) for job in jobs}
        return {folder: result for folder, result in results.items() if isinstance(result, Refusal)}

    monkeypatch.setattr(Launcher, "_launch", launch)
