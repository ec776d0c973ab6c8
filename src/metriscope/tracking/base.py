"""Base class of loggers that also take figures and final values."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers.logger import Logger


class RunLogger(Logger):
    """A Lightning logger that also gets the figures, the final values and the end of a run."""

    @property
    def unsent(self) -> bool:
        """Whether a server did not get everything."""
        return False

    def log_figures(self, paths: Iterable[Path]) -> None:
        """Take PNG files of the run folder; nothing by default."""

    def log_summary(self, values: Mapping[str, Any]) -> None:
        """Take the final and best values, as in ``summary.json``, and ``epochs``; nothing by default."""

    def sync(self) -> None:
        """Put on disk what a resumed run reads; called before every checkpoint, nothing by default."""

    def finish(self, exit_code: int = 0) -> None:
        """End the logging of the run, which failed unless 0; nothing by default."""
