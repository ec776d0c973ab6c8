"""The result of a run. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from metriscope.run.frames import history_frame
from metriscope.run.history import read_history

if TYPE_CHECKING:
    import pytorch_lightning as pl
    from pandas import DataFrame

    from metriscope.data.datamodule import DataModule
    from metriscope.training.learner import MetricLearner


class Parts(NamedTuple):
    """The objects of a run; None for those that are not there."""

    trainer: pl.Trainer | None = None
    module: MetricLearner | None = None
    data: DataModule | None = None


@dataclass
class Outcome:
    """Result of a run.

    >>> from metriscope import compose_config, train
    >>> outcome = train(compose_config(["dataset=digits", "trainer.max_epochs=1", "logger=none"]))
    >>> sorted(outcome.history.columns)[:3]
    ['epoch', 'step', 'test/cosine_inter']

    Attributes:
        metrics: flat figures, as in ``summary.json``.
        folder: the run folder.
        trained: False if the run had already finished, so that nothing was trained.
        unsent: whether a logger's server did not get everything.
        load: gives trainer, module and data; called when one of them is first used.
    """

    metrics: dict[str, Any]
    folder: Path
    trained: bool = False
    unsent: bool = False
    load: Callable[[], Parts] = field(default=Parts, repr=False, compare=False)

    @cached_property
    def history(self) -> DataFrame:
        """All that was logged, as in ``metrics.csv``: a column for each key beside ``epoch`` and ``step``.

        Raises:
            InputError: pandas is not installed.
        """
        return history_frame(read_history(self.folder / "metrics.csv"))

    @property
    def trainer(self) -> pl.Trainer | None:
        """The Lightning trainer; that of a run that had already finished evaluates, and writes no checkpoints."""
        return self._parts.trainer

    @property
    def module(self) -> MetricLearner | None:
        """The model and its objective, with the weights of the best checkpoint, or of the last without validation.

        None if a run that had already finished has no checkpoint any more.
        """
        return self._parts.module

    @property
    def data(self) -> DataModule | None:
        """The data of the run: splits and loaders."""
        return self._parts.data

    @cached_property
    def _parts(self) -> Parts:
        return self.load()
