"""Runs as small as they come. This file also puts ``tests/`` on the path, where the oracles are."""

import pytest

from metriscope.app import Outcome, train
from metriscope.cli import compose_config

# 5 classes in 8 dimensions: 90 training, 10 validation and 100 test samples; an epoch of 5 batches of 20.
TINY = (
    "dataset=synthetic",
    "dataset.classes=5",
    "dataset.per_class=20",
    "dataset.dimension=8",
    "backbone.widths=[12]",
    "head.size=6",
    "sampler.batch_size=20",
    "sampler.classes_per_batch=5",
    "evaluation.recall_at=[1,2]",
    "evaluation.classification=false",
    "trainer=cpu",
    "trainer.max_epochs=2",
    "trainer.log_every_n_steps=1",
    "logger=none",
)


@pytest.fixture
def tiny(tmp_path):
    """Composes a config of a tiny run whose output goes below ``tmp_path``; overrides come on top."""

    def compose(*overrides: str):
        return compose_config([*TINY, f"paths.output_dir={tmp_path / 'outputs'}", *overrides])

    return compose


@pytest.fixture
def run(tiny):
    """Trains a tiny run in this process."""

    def go(*overrides: str) -> Outcome:
        return train(tiny(*overrides))

    return go
