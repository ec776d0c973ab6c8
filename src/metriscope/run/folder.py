"""Run folders: claiming, locking and resuming them, and writing ``run.json``. Imports no torch."""

import logging
import os
import secrets
import shutil
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from metriscope.config.evaluates import EVALUATES
from metriscope.errors import InputError
from metriscope.files import drafts, refuse_link, replacing, set_aside, write_json
from metriscope.run.entries import check_entries, check_place
from metriscope.run.fair import seal_on
from metriscope.run.history import LOSS, epochs_trained, read_history
from metriscope.run.identity import folder_of, holds, identity_here, located
from metriscope.run.locks import LOCK_SECONDS, lock_of
from metriscope.run.ranks import is_main_process
from metriscope.run.record import FINISHED, FORMAT, RUNNING, Record, Status, read_record, read_summary
from metriscope.run.versions import git_state, versions

log = logging.getLogger(__name__)

# What a run that begins afresh removes.
_LEFTOVERS = (
    "checkpoints", "figures", "tensorboard", "metrics.csv", "summary.json", "embeddings.npz", "per_class.csv",
    "per_query.csv", "thresholds.csv", "spectrum.csv", "label_noise.csv", "suspects.csv",
)  # fmt: skip

# Seconds that a process waits until the main process of its run has claimed the folder.
_JOIN_SECONDS = 300


class Run:
    """One run folder and its ``run.json``, the record of what happened.

    Attributes:
        folder: the folder that holds all files of the run.
        record: the content of ``run.json``; None before the run is started for the first time.
        resumes: whether the run is unfinished and has a checkpoint to resume from.
        fair: hash of the manifest of the fair comparison that it is a repeat of; None for other runs.
        is_main: whether this process writes the folder; the other processes of a distributed run only train.
        begun: when its process began to work for it, in seconds of the monotonic clock.
        imported: when all parts of it were imported.
    """

    def __init__(self, folder: Path, config: Mapping[str, Any], record: Record | None, fair: str | None = None) -> None:
        self.folder = folder
        self.config = config
        self.record = record
        self.fair = fair
        self.is_main = is_main_process(config.get("trainer", {}))
        self.resumes = not self.finished and any(path.exists() for path in self.generations)
        self._seconds_before = (record.seconds if record else None) or 0.0
        self._started = time.monotonic()
        self.begun = self.imported = self._started

    @property
    def finished(self) -> bool:
        return self.record is not None and self.record.status == FINISHED

    @property
    def data(self) -> Mapping[str, Any] | None:
        """Fingerprint of the data of the run so far, where that is known."""
        return self.record.data if self.record else None

    @property
    def history(self) -> Path:
        """The file of every logged value."""
        return self.folder / "metrics.csv"

    @property
    def last_checkpoint(self) -> Path:
        return self.folder / "checkpoints" / "last.ckpt"

    @property
    def previous_checkpoint(self) -> Path:
        """The ``last.ckpt`` before; a run resumes from it where the last is damaged, and a finished run has none."""
        return self.folder / "checkpoints" / "previous.ckpt"

    @property
    def generations(self) -> tuple[Path, Path]:
        """The checkpoints to resume from, the newest first."""
        return self.last_checkpoint, self.previous_checkpoint

    @property
    def best_checkpoint(self) -> Path:
        return self.folder / "checkpoints" / "best.ckpt"

    def start(self) -> None:
        """Mark the run as running; empty the folder first if the run cannot resume."""
        if not self.is_main:
            return
        if not self.resumes:
            self._empty()
        # Lightning follows links.
        refuse_link(self.last_checkpoint.parent)
        for draft in drafts(self.folder):
            draft.unlink(missing_ok=True)
        with replacing(self.folder / "config.yaml") as draft:
            draft.write_text(yaml.safe_dump(dict(self.config), sort_keys=False, allow_unicode=True))
        before = self.record or Record(RUNNING)
        self._write(
            Record(
                status=RUNNING,
                format=FORMAT,
                identity=identity_here(self.config),
                wandb_id=before.wandb_id or secrets.token_hex(4),
                seed=self.config["seed"],
                protocol=self.config["dataset"]["protocol"],
                started=before.started or _now(),
                running_since=_now(),
                data=before.data if self.resumes else None,
                init=before.init if self.resumes else None,
                extends=before.extends if self.resumes else None,
                seconds=self._seconds_before,
                resumed=before.resumed + self.resumes,
                host=socket.gethostname(),
                pid=os.getpid(),
                launch=_launch(),
                command=sys.argv,
                versions=versions(),
                git=git_state(),
                fair=self.fair,
            )
        )

    def begin_afresh(self) -> None:
        """Turn a run that resumes into one that begins: nothing that it has left can be used.

        Raises:
            InputError: the config says that the run must resume.
        """
        if self.config["resume"] == "must":
            raise InputError(f"resume=must, but {self.folder} holds no whole checkpoint: set resume=auto")
        self.resumes = False
        if self.is_main and self.record:
            self._empty()
            self._write(replace(self.record, data=None, init=None, extends=None, resumed=self.record.resumed - 1))

    def goes_on(self, shorter: Path, record: Record) -> None:
        """Turn a run that begins into one that resumes: its folder holds the checkpoints of a shorter run.

        Args:
            shorter: folder of that run.
            record: of that run.
        """
        self.resumes = True
        self._seconds_before += record.seconds or 0.0
        if self.is_main and self.record:
            resumed = self.record.resumed + 1
            extended = replace(self.record, init=record.init, extends=shorter.name, resumed=resumed)
            self._write(replace(extended, seconds=self._seconds_before))

    def set_aside(self, path: Path, reason: str) -> None:
        """Move a checkpoint that cannot be used out of the way, with one warning; ``reason`` follows its path."""
        if self.is_main and path.exists():
            log.warning("%s %s: set aside as %s", path, reason, set_aside(path, self.folder).name)

    def _empty(self) -> None:
        for leftover in _LEFTOVERS:
            path = self.folder / leftover
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)

    def record_data(self, fingerprint: Mapping[str, Any]) -> None:
        """Write the fingerprint of the training data to ``run.json``."""
        if self.is_main and self.record:
            self._write(replace(self.record, data=dict(fingerprint)))

    def record_init(self, origin: Mapping[str, Any]) -> None:
        """Write to ``run.json`` where the first weights come from."""
        if self.is_main and self.record:
            self._write(replace(self.record, init=dict(origin)))

    def record_metrics(self, described: Mapping[str, Sequence[str | None]]) -> None:
        """Keep title and direction of the logged metrics, by key without split; :meth:`end` writes them."""
        if self.record:
            self.record = replace(self.record, metrics=described)

    def end(self, status: Status, reason: str | None = None) -> None:
        """Write how the run ended: ``finished``, ``failed``, ``interrupted`` or ``pruned``."""
        if self.is_main and self.record:
            if status == FINISHED:
                self.previous_checkpoint.unlink(missing_ok=True)
            seconds = round(self._seconds_before + time.monotonic() - self._started, 3)
            epochs = self.epochs()
            self._write(
                replace(self.record, status=status, reason=reason, ended=_now(), seconds=seconds, epochs=epochs)
            )

    def epochs(self) -> int | None:
        """How many epochs were trained to their end; None for an evaluation, and where the history does not say."""
        if self.config.get(EVALUATES):
            return None
        try:
            return epochs_trained(read_history(self.history, (LOSS,)))
        except (InputError, OSError):
            return None

    def summary(self) -> dict[str, Any]:
        """The figures of a finished run."""
        return read_summary(self.folder)

    def _write(self, record: Record) -> None:
        self.record = record
        write_json(self.folder / "run.json", vars(record))


class Taken(InputError):
    """Another process works on the run; the message names it."""


@contextmanager
def open_run(config: Mapping[str, Any]) -> Iterator[Run]:
    """The run of a resolved config, for this process alone.

    Raises:
        Taken: another process works on it.
        InputError: the folder cannot be written, holds another config or a run of a later version,
            ``resume=must`` finds nothing to resume, or the study is a fair comparison with other runs.
    """
    config = located(config)
    fair = seal_on(config)
    if not is_main_process(config.get("trainer", {})):
        yield _join(config)
        return
    folder = folder_of(config)
    lock_file = lock_of(folder)
    lock = FileLock(lock_file, timeout=LOCK_SECONDS)
    check_place(folder, lock_file)
    try:
        lock_file.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        owner = read_record(folder) or Record(RUNNING)
        raise Taken(
            f"{folder} is being worked on by process {owner.pid or '?'} on {owner.host or '?'}: "
            "wait for it, or change the seed or the study"
        ) from None
    except OSError as error:
        place = error.filename or folder
        raise InputError(f"cannot write {place}: {error.strerror}; set paths.output_dir") from error
    try:
        yield _claim(folder, config, fair)
    finally:
        lock.release()


def _join(config: Mapping[str, Any]) -> Run:
    """The run for the other processes of a distributed run, once the main process has claimed the folder.

    Launchers that start all processes at once set variables that identify the launch; the main process records
    them. Processes that the main process starts itself find the folder claimed.
    """
    deadline = time.monotonic() + _JOIN_SECONDS
    while True:
        folder = folder_of(config)
        record = read_record(folder)
        known = record is not None and record.status == FINISHED and config["resume"] != "never"
        if known or _launch() is None or (record is not None and record.launch == _launch()):
            return Run(folder, config, record)
        if time.monotonic() > deadline:
            raise InputError(f"{folder} was not claimed by the first process within {_JOIN_SECONDS} s")
        time.sleep(0.1)


def _launch() -> str | None:
    """Identifier of the launch by torchrun or srun that started this process; None without such a launcher."""
    names = ("SLURM_JOB_ID", "SLURM_RESTART_COUNT", "TORCHELASTIC_RUN_ID", "MASTER_ADDR", "MASTER_PORT")
    if not {"RANK", "SLURM_PROCID"} & os.environ.keys():
        return None
    return " ".join(os.environ.get(name, "-") for name in names)


def _claim(folder: Path, config: Mapping[str, Any], fair: str | None) -> Run:
    record = read_record(folder)
    if config["resume"] == "never" and record:
        kept = next(p for n in range(1, 10**6) if not (p := folder.with_name(f"{folder.name}.{n}")).exists())
        folder.rename(kept)
        folder.mkdir()
        record = None
    if record and not holds(folder, record, identity_here(config)):
        raise InputError(f"{folder} holds a run of another config: move it away, or set another study")
    check_entries(folder)
    run = Run(folder, config, record, fair)
    if config["resume"] == "must" and not (run.finished or run.resumes):
        raise InputError(f"resume=must, but {folder} holds no checkpoint to resume from: set resume=auto")
    return run


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
