"""All runs of a study as one frame: flat configs, final metrics, states, and histories on demand. Imports no torch."""

import logging
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metriscope.config.plain import flatten
from metriscope.errors import InputError
from metriscope.escapes import shown
from metriscope.run.configs import CUT_OFF, of_today, read_config
from metriscope.run.fair import is_fair, sealed
from metriscope.run.frames import table_frame
from metriscope.run.history import Row, read_history
from metriscope.run.identity import RUN_FOLDER, identity, relevant
from metriscope.run.record import FINISHED, Record, Status, read_record, read_summary

if TYPE_CHECKING:
    from pandas import DataFrame

log = logging.getLogger(__name__)

_ASIDE = re.compile(RUN_FOLDER.pattern + r"\.\d+")
REPORT = "report"
"""The folder of a study that its comparison goes to."""
# Run folders lie three levels below their study, whose folder may lie below that of several studies.
_LEVELS = 6


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
        told: warnings that were given about it.
    """

    name: str
    config: Mapping[str, Any]
    metrics: Mapping[str, float]
    record: Record
    history: Callable[[Collection[str]], list[Row]]
    folder: Path | None = None
    url: str | None = None
    told: set[str] = field(default_factory=set, compare=False, repr=False)

    def warn_once(self, line: str) -> None:
        """A warning about the run, which several figures and the page would repeat."""
        if line not in self.told:
            self.told.add(line)
            log.warning("%s", shown(line))

    @cached_property
    def relevant(self) -> Mapping[str, Any]:
        """The keys of the config that can change a result."""
        return relevant(self.config)

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
    def frame(self) -> "DataFrame":
        """The runs as a data frame: a line for each, with its status, settings and final metrics.

        Raises:
            InputError: pandas is not installed.
        """
        return table_frame({run.name: ({"status": run.status}, run.relevant, run.metrics) for run in self.runs})

    @property
    def finished(self) -> list[StudyRun]:
        return [run for run in self.runs if run.status == FINISHED]

    @property
    def unfinished(self) -> list[StudyRun]:
        return [run for run in self.runs if run.status != FINISHED]


def load_study(folder: str | Path) -> Study:
    """The runs below ``outputs/<study>``; histories are read on demand.

    >>> from metriscope import compose_config, load_study, train
    >>> outcome = train(compose_config(["dataset=digits", "trainer.max_epochs=1", "logger=none"]))
    >>> load_study("outputs/default").frame[["status", "loss.name", "loss.margin"]].values.tolist()
    [['finished', 'triplet', 0.2]]

    Folders that ``resume=never`` set aside (``seed0-<hash>.1``) are skipped; a run whose files are broken,
    half-written or hostile becomes a line of ``problems``, as does one whose config another one has. Links are not
    followed. Of a fair comparison only runs that its manifest let test are read.

    Raises:
        InputError: the folder does not exist, no run in it can be read, or it is that of a fair comparison that
            still searches or whose manifest was edited.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give the folder of a study, such as outputs/default")
    if is_fair(folder) and sealed(folder) is None:
        raise InputError(f"{folder} is a fair comparison that still searches: there are no tested runs to read yet")
    runs: list[StudyRun] = []
    problems: list[str] = []
    seals: dict[Path, str | None] = {}
    for path in run_folders(folder, problems):
        try:
            run = load_run(path, name=path.relative_to(folder).as_posix())
            if not _let_test(run, folder, seals):
                problems.append(f"{run.name} was not let test by the manifest of this fair comparison; left out")
            else:
                runs.append(run)
        except InputError as error:
            problems.append(shown(str(error)))
        except Exception as error:  # whatever the files of one run hold, the others are read
            log.debug("%s cannot be read", path, exc_info=True)
            problems.append(shown(f"{path} cannot be read ({type(error).__name__}: {_first_line(error)}); left out"))
    if not runs:
        reason = f": {problems[0]}" if problems else ": train some with study=<name>"
        raise InputError(f"{folder} holds no {'readable run' if problems else 'runs'}{reason}")
    return Study(shown(folder.resolve().name), once_each(sorted(runs, key=_ended), problems), problems)


def _let_test(run: StudyRun, study: Path, seals: dict[Path, str | None]) -> bool:
    """Whether the fair comparison in whose folder a run lies, at or below that of the study, let it test.

    Args:
        seals: the hash of each comparison's manifest, None while it searches; read once and kept there.
    """
    inside = (run.folder or study).relative_to(study).parents
    own = next((study / part for part in inside if is_fair(study / part)), None)
    if own is None:
        return True
    if own not in seals:
        manifest = sealed(own)
        seals[own] = None if manifest is None else str(manifest["hash"])
    return seals[own] is not None and run.record.fair == seals[own]


def _ended(run: StudyRun) -> str:
    return run.record.ended or ""


def once_each(runs: Iterable[StudyRun], problems: list[str]) -> list[StudyRun]:
    """The runs by name; of those with the same config, seed included, only the last that has finished.

    A copy of a run is no repeat of it: counted as one, it would narrow the intervals.

    Args:
        runs: earlier ones first.
        problems: gets a line for each that does not count.
    """
    kept: dict[str, StudyRun] = {}
    for run in runs:
        known = kept.get(key := identity(run.config))
        if known is None or run.status == FINISHED or known.status != FINISHED:
            kept[key] = run
        if known is not None:
            problems.append(f"{run.name} and {known.name} have the same config; {kept[key].name} counts")
    return sorted(kept.values(), key=lambda run: run.name)


def run_folders(folder: Path, problems: list[str]) -> Iterator[Path]:
    """Run folders at or below ``folder``, sorted, without hidden ones and those set aside.

    Args:
        problems: gets a line for every link and every folder that cannot be listed.
    """
    if RUN_FOLDER.fullmatch(folder.resolve().name):
        yield folder
    else:
        yield from _below(folder, _LEVELS, problems)


def _below(folder: Path, levels: int, problems: list[str]) -> Iterator[Path]:
    try:
        with os.scandir(folder) as entries:
            found = sorted((entry.name, entry.is_symlink(), entry.is_dir(follow_symlinks=False)) for entry in entries)
    except OSError as error:
        problems.append(shown(f"{folder} cannot be listed ({error.strerror}); left out"))
        return
    for name, is_link, is_folder in found:
        path = folder / name
        if is_folder and RUN_FOLDER.fullmatch(name):
            yield path
        elif is_link and (RUN_FOLDER.fullmatch(name) or os.path.isdir(path)) and not name.startswith("."):
            problems.append(shown(f"{path} is a link, which is not followed; left out"))
        elif is_folder and levels and not name.startswith(".") and name != REPORT and not _ASIDE.fullmatch(name):
            yield from _below(path, levels - 1, problems)


def repeats(folder: Path) -> list[StudyRun]:
    """The finished runs beside a run, itself among them, that differ from it in nothing but the seed; by name.

    Raises:
        InputError: the run cannot be read.
    """
    own = load_run(folder)
    runs = [own]
    for path in sorted(folder.resolve().parent.iterdir()):
        if RUN_FOLDER.fullmatch(path.name) and not path.is_symlink() and path.name != folder.resolve().name:
            with suppress(InputError):  # one that is broken is no repeat
                runs.append(load_run(path))
    alike = _without_seed(own)
    found = [run for run in runs if run.status == FINISHED and _without_seed(run) == alike]
    return once_each(sorted(found, key=_ended), [])


def _without_seed(run: StudyRun) -> dict[str, Any]:
    return {key: value for key, value in run.relevant.items() if key != "seed"}


def load_run(folder: Path, name: str = "") -> StudyRun:
    """Load the run of one folder.

    Raises:
        InputError: a file that a run with this status must have is missing or cannot be read.
    """
    try:
        record = read_record(folder)
        if record is None:
            raise InputError(f"{folder / 'run.json'} {CUT_OFF}")
        config = flatten(read_config(folder))
        metrics = read_summary(folder) if record.status == FINISHED else {}
    except InputError as error:
        raise InputError(f"{error}; left out") from error
    run = StudyRun(
        name=shown(name if name not in ("", ".") else folder.name),
        config=config,
        metrics={key: value for key, value in metrics.items() if value is not None},
        record=record,
        history=lambda keys: read_history(folder / "metrics.csv", keys),
        folder=folder,
    )
    try:
        _ = run.relevant  # what no comparison can read is refused here, where it is one run's
    except Exception as error:
        raise InputError(f"{folder / 'config.yaml'} is not readable ({_first_line(error)}); left out") from error
    return run


def flat_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The nested config of a run of any version: flat, with the keys of today and without control characters."""
    return flatten(of_today(config))


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
