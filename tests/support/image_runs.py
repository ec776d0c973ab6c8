"""Short runs on small images, and what they learn and log."""

import pytest
import torch
from tiny_runs import COMPOSER

from metriscope.app import train
from metriscope.run.history import read_history

# In float64, so that a difference is a mistake.
EXACT = ("trainer.precision=64-true", "backbone.freeze_batch_norm=true")
# 5 batches of 20 images.
IMAGES = (
    "dataset=digits", "backbone=small_cnn", "backbone.widths=[4,4,8]", "head.size=6", "augmentation=crop_flip",
    "sampler.classes_per_batch=4", "sampler.samples_per_class=5", "trainer.limit_train_batches=5",
    "evaluation.classification=false", "trainer=cpu", "trainer.max_epochs=2", "trainer.log_every_n_steps=1",
    "logger=none",
)  # fmt: skip


@pytest.fixture
def images(tmp_path, quick_trainer):
    """Composes a config of a short run on images."""

    def compose(*words):
        return COMPOSER([*IMAGES, f"paths.output_dir={tmp_path}/outputs", *words])

    return compose


def followed(compose, *words):
    """What a run learns and logs."""
    outcome = train(compose(*words))
    weights = {name: value for name, value in outcome.module.state_dict().items() if value.is_floating_point()}
    rows = read_history(outcome.folder / "metrics.csv")
    return weights, [{key: value for key, value in row.items() if key.startswith(("train/", "val/"))} for row in rows]


# A logged value is float32: where the last bits of its sum differ, it may be rounded to the next number, which is at
# most this much larger.
ONE_STEP = torch.finfo(torch.float32).eps


def learn_alike(found, wanted):
    torch.testing.assert_close(found[0], wanted[0], rtol=1e-9, atol=1e-9)
    assert len(found[1]) == len(wanted[1])
    for mine, theirs in zip(found[1], wanted[1], strict=True):
        assert mine == pytest.approx(theirs, rel=ONE_STEP, abs=1e-9)
