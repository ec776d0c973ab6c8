"""Logger that writes every logged value to ``metrics.csv``, with or without W&B."""

import csv
import io
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from pytorch_lightning.utilities import rank_zero_only

from metriscope.errors import RunError
from metriscope.files import replacing, set_aside
from metriscope.run.history import Row, lost_epochs, read_history, rows_that_read
from metriscope.run.shortages import shortage
from metriscope.tracking.base import RunLogger

log = logging.getLogger(__name__)


class HistoryLogger(RunLogger):
    """Writes one CSV row per step or epoch logged: ``epoch``, ``step``, then the keys in the order of their first log.

    Consecutive entries of one step share a row as long as their keys differ. Every row is flushed, so a
    killed run loses at most the line being written; before a checkpoint :meth:`sync` puts them on disk. Rows are
    appended to an existing file.

    Args:
        folder: the run folder.

    Raises:
        RunError: the file cannot be written; any method may raise it.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.path = folder / "metrics.csv"
        self._columns: list[str] = []
        self._file: BinaryIO | None = None
        self._row: Row = {}
        self._start = 0

    @property
    def name(self) -> str:
        return ""

    @property
    def version(self) -> str:
        return ""

    @property
    def save_dir(self) -> str:
        return str(self.folder)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Does nothing: ``config.yaml`` holds the hyperparameters."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        values = {key: float(value) for key, value in metrics.items() if key not in ("epoch", "step")}
        place: Row = {
            "epoch": int(metrics.get("epoch", self._row.get("epoch", 0))),
            "step": int(self._row.get("step", 0) if step is None else step),
        }
        if not values:
            return
        merge = all(self._row.get(key) == place[key] for key in place) and not values.keys() & self._row.keys()
        with self._reported():
            file = self._open(values)
            self._start = self._start if merge else file.seek(0, io.SEEK_END)
            self._row = self._row | values if merge else place | values
            file.seek(self._start)
            # A merged row only fills empty cells, so it is never shorter than the row it overwrites.
            file.write(_line([self._row.get(column, "") for column in self._columns]))
            file.flush()

    def sync(self) -> None:
        """Put the rows on disk.

        Raises:
            RunError: the file was taken away, or the disk is full.
        """
        if self._file is None:
            return
        with self._reported():
            os.fsync(self._file.fileno())
            if os.fstat(self._file.fileno()).st_nlink == 0:
                raise RunError(f"{self.path} was taken away while the run wrote to it: run again")

    def resume_from(self, step: int, trained: int = 0, every: int = 1) -> dict[str, int]:
        """Cut the rows after a checkpoint, which the resumed run will log again; warn if rows before it are lost.

        Args:
            step: the checkpoint's ``global_step``, the number of optimiser steps done. Lightning numbers the
                logged steps from 0, so rows from ``step`` on are cut; 0 empties the file.
            trained: how many epochs were trained to their end by then.
            every: how many steps lie between two that are logged.

        Returns:
            the last step at which each key had been logged before the cut, for loggers that cannot delete rows.
        """
        if getattr(rank_zero_only, "rank", 0) != 0:
            return {}
        self.close()
        self._row = {}
        history, broken = rows_that_read(self.path)
        logged = {key: int(row["step"]) for row in history for key in row if "/" in key}
        kept = [row for row in history if row["step"] < step]
        lost = lost_epochs(kept, trained, step // every * every - 1)
        with self._reported():
            if broken:
                set_aside(self.path, self.folder)
            if lost or broken:
                epochs = f"of epoch{'s' * (len(lost) > 1)} {_ranges(lost)} " if lost else ""
                log.warning(
                    "%s has lost rows %sbefore the checkpoint: figures and summary lack them", self.path, epochs
                )
            self._rewrite(list(dict.fromkeys(key for row in kept for key in row)), kept)
        return logged

    def finalize(self, status: str) -> None:
        self.close()

    def finish(self, exit_code: int = 0) -> None:
        self.close()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_file": None, "_row": {}}

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise RunError(shortage(error, self.folder) or f"{self.path} cannot be written: {error.strerror}") from None

    def _open(self, values: Row) -> BinaryIO:
        """The open file, rewritten with wider rows if ``values`` hold new keys."""
        if self._file is None:
            history = read_history(self.path)
            text = self.path.read_bytes() if history else b""
            self._columns = next(csv.reader([text.split(b"\n", 1)[0].decode()]), []) if history else []
            if not text.endswith(b"\n"):
                self._rewrite(self._columns, history)
        new = [key for key in values if key not in self._columns]
        if new:
            self.close()
            self._rewrite([*(self._columns or ["epoch", "step"]), *new], read_history(self.path))
        if self._file is None:
            self._file = self.path.open("r+b")
        return self._file

    def _rewrite(self, columns: list[str], rows: list[Row]) -> None:
        self._columns = columns
        with replacing(self.path) as draft, draft.open("wb") as file:
            file.write(_line(columns) if columns else b"")
            for row in rows:
                self._start = file.tell()
                file.write(_line([row.get(column, "") for column in columns]))


def _ranges(numbers: Sequence[int]) -> str:
    """Rising numbers with stretches as ``3-5``."""
    found: list[list[int]] = []
    for number in numbers:
        if found and found[-1][-1] == number - 1:
            found[-1].append(number)
        else:
            found.append([number])
    return ", ".join(str(one[0]) if len(one) == 1 else f"{one[0]}-{one[-1]}" for one in found)


def _line(cells: list[Any]) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(cells)
    return buffer.getvalue().encode()
