"""All runs of a study as one frame: flat configs, final metrics, states, and histories on demand. Imports no torch."""

import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from os import scandir
from pathlib import Path
from typing import Any

import yaml

from metriscope.config.completing import in_words_of_today
from metriscope.config.plain import flatten
from metriscope.errors import InputError
from metriscope.run.history import Row, read_history
from metriscope.run.identity import located
from metriscope.run.record import FINISHED, Record, Status, Unreadable, read_json, read_record

_RUN_FOLDER = re.compile(r"seed\d+-[0-9a-f]{8}")
_CUT_OFF = "is missing: the run never started or was cut off"
# A line that begins with a key begins a section of the file.
_SECTION = re.compile(r"^(?=[^\s#-])", re.MULTILINE)
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class StudyRun:
    """One run of a comparison, from a run folder or from W&B.

    Attributes:
        name: path of its folder below the study's, or its path in W&B.
        config: the resolved config, flat, with dotted keys.
        metrics: the flat summary without values that are not finite.
        record: the content of ``run.json``; for a run from W&B, little more than the status.
        history: function that reads the rows of the history that hold the given keys.
        folder: its run folder, if there is one.
        url: of its page in W&B, for a run read from there.
    """

    name: str
    config: Mapping[str, Any]
    metrics: Mapping[str, float]
    record: Record
    history: Callable[[Collection[str]], list[Row]]
    folder: Path | None = None
    url: str | None = None

    @property
    def status(self) -> Status:
        return self.record.status

    @property
    def reason(self) -> str | None:
        return self.record.reason


@dataclass(frozen=True)
class Study:
    """Runs to compare.

    Attributes:
        name: name of the study.
        runs: all runs that could be read, sorted by name.
        problems: one line for each run that could not be read.
    """

    name: str
    runs: Sequence[StudyRun]
    problems: Sequence[str] = ()

    @property
    def finished(self) -> list[StudyRun]:
        return [run for run in self.runs if run.status == FINISHED]

    @property
    def unfinished(self) -> list[StudyRun]:
        return [run for run in self.runs if run.status != FINISHED]


def load_study(folder: Path) -> Study:
    """The runs below ``outputs/<study>``; histories are read on demand.

    Folders that ``resume=never`` set aside (``seed0-<hash>.1``) are skipped; a run whose files are broken or
    half-written becomes a line of ``problems``.

    Raises:
        InputError: the folder does not exist, or no run in it can be read.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give the folder of a study, such as outputs/default")
    runs, problems = [], []
    for path in run_folders(folder):
        try:
            runs.append(load_run(path, name=path.relative_to(folder).as_posix()))
        except InputError as error:
            problems.append(str(error))
    if not runs:
        reason = f": {problems[0]}" if problems else ": train some with study=<name>"
        raise InputError(f"{folder} holds no {'readable run' if problems else 'runs'}{reason}")
    return Study(folder.resolve().name, runs, problems)


def run_folders(folder: Path) -> Iterator[Path]:
    """Run folders at or below ``folder``, sorted, without hidden ones and those set aside."""
    if _RUN_FOLDER.fullmatch(folder.resolve().name):
        yield folder
        return
    with scandir(folder) as entries:
        below = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    for name in below:
        if not re.fullmatch(_RUN_FOLDER.pattern + r"\.\d+", name):
            yield from run_folders(folder / name)


def load_run(folder: Path, name: str = "") -> StudyRun:
    """Load the run of one folder.

    Raises:
        InputError: a file that a run with this status must have is missing or cannot be read.
    """
    try:
        record = read_record(folder)
        if record is None:
            raise InputError(f"{folder / 'run.json'} {_CUT_OFF}; left out")
        config = _read_config(folder / "config.yaml")
        metrics = read_json(folder / "summary.json") if record.status == FINISHED else {}
    except Unreadable as error:
        raise InputError(f"{error}; left out") from error
    return StudyRun(
        name=name if name not in ("", ".") else folder.name,
        config=config,
        metrics={key: value for key, value in metrics.items() if is_figure(value)},
        record=record,
        history=lambda keys: read_history(folder / "metrics.csv", keys),
        folder=folder,
    )


def is_figure(value: Any) -> bool:
    """Whether a value of a summary is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = flat_config(located(_parse(path.read_text(encoding="utf-8"))))
        if "seed" not in config:
            raise ValueError("cut off, or no config of a run")
    except FileNotFoundError:
        raise InputError(f"{path} {_CUT_OFF}; left out") from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InputError(f"{path} is not readable ({_first_line(error)}); left out") from error
    return config


def flat_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The nested config of a run of any version: flat, with the keys of today."""
    try:
        return flatten(in_words_of_today(config)[0])
    except InputError:  # only what it says in full is left as it is
        return flatten(config)


def _parse(text: str) -> dict[str, Any]:
    """The mapping in a YAML text, parsed by section and cached: most sections of a study's configs are equal."""
    if re.search(r"[:-] [&*]", text):  # an anchor may tie sections together
        return dict(_parse_section(text))
    config: dict[str, Any] = {}
    for section in _SECTION.split(text):
        config.update(_parse_section(section))
    return config


@lru_cache(maxsize=1024)
def _parse_section(text: str) -> Mapping[str, Any]:
    content = yaml.load(text, Loader=_Loader) if text.strip() else {}
    if not isinstance(content, dict):
        raise ValueError("not a mapping")
    return content


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
