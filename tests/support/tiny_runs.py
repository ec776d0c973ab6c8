"""Runs as small as they come."""

from metriscope.config.compose import Composer

# 5 classes in 8 dimensions: 90 training, 10 validation and 100 test samples; an epoch of 5 batches of 20.
TINY = (
    "dataset=synthetic",
    "dataset.classes=5",
    "dataset.per_class=20",
    "dataset.dimension=8",
    "backbone.widths=[12]",
    "head.size=6",
    "sampler.batch_size=20",
    "evaluation.metrics.recall_at.k=[1,2]",
    "evaluation.classification=false",
    "trainer=cpu",
    "trainer.max_epochs=2",
    "trainer.log_every_n_steps=1",
    "logger=none",
)


# For all tests of a process: parts that configs have in common are read once.
COMPOSER = Composer()
