"""Base class of loggers that also take figures, tables, files and final values."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pytorch_lightning.loggers.logger import Logger


class Picture(NamedTuple):
    """An image in a cell of a table.

    Attributes:
        pixels: uint8 (H, W) or (H, W, 3).
        words: what stands below it.
    """

    pixels: NDArray[np.uint8]
    words: str


class LoggedTable(NamedTuple):
    """A table for loggers; cells are text, numbers, :class:`Picture` or None."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


class RunLogger(Logger):
    """A Lightning logger that also gets the figures, tables, files and final values of a run, and its end."""

    @property
    def unsent(self) -> bool:
        """Whether a server did not get everything."""
        return False

    def log_figures(self, paths: Iterable[Path]) -> None:
        """Take PNG files of the run folder; nothing by default."""

    def log_summary(self, values: Mapping[str, Any]) -> None:
        """Take the final and best values, as in ``summary.json``, and ``epochs``; nothing by default."""

    def log_tables(self, tables: Mapping[str, LoggedTable]) -> None:
        """Take tables of the test set by name; nothing by default."""

    def log_artifacts(self, paths: Iterable[Path], metadata: Mapping[str, Any]) -> None:
        """Take files of the run folder with what describes them; nothing by default."""

    def sync(self) -> None:
        """Put on disk what a resumed run reads; called before every checkpoint, nothing by default."""

    def finish(self, exit_code: int = 0) -> None:
        """End the logging of the run, which failed unless 0; nothing by default."""
