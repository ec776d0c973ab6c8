"""The plan of a sweep: its jobs, their run folders, and the jobs left to run. Imports no torch."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Glob, IntervalSweep, Override
from omegaconf import DictConfig

import metriscope.run.folder
import metriscope.run.identity
import metriscope.run.vocabulary
from metriscope.config.compose import Composer, compose_config
from metriscope.config.files import CONFIG_DIR, all_choices
from metriscope.config.hydra import combinations
from metriscope.config.plain import plain
from metriscope.config.rules import check, check_keys
from metriscope.config.search_path import folders
from metriscope.config.words import parse
from metriscope.errors import InputError
from metriscope.files import folder_in, write_json
from metriscope.run.identity import folder_of, run_at
from metriscope.run.record import FINISHED
from metriscope.sweeps.states import PLANS, State, read_plan, state_of

Words = tuple[str, ...]


@dataclass(frozen=True)
class Job:
    """One run of a sweep: the overrides that compose its config, and its run folder."""

    words: Words
    folder: Path


@dataclass(frozen=True)
class Plan:
    """A sweep before it starts.

    Attributes:
        jobs: all jobs, one for each run.
        states: state of each job when the plan was made.
        todo: jobs that have to run.
    """

    jobs: list[Job]
    states: list[State]
    todo: list[Job]

    @property
    def study(self) -> Path:
        return self.jobs[0].folder.parents[2]


def split(words: Sequence[str]) -> tuple[Words, Words]:
    """Overrides for the runs, and overrides for Hydra (``hydra/launcher=...``, ``hydra.launcher.n_jobs=...``)."""
    for_hydra = tuple(word for word in words if parse(word).is_hydra_override())
    return tuple(word for word in words if word not in for_hydra), for_hydra


def expand(words: Sequence[str]) -> list[Words]:
    """The overrides of every job: the product of all lists of values; without the overrides for Hydra.

    Raises:
        InputError: an override is an interval, which has no list of values.
    """
    overrides = [listed(word, folders(words)) for word in split(words)[0]]
    for override in overrides:
        if override.is_sweep_override() and not override.is_discrete_sweep():
            raise InputError(f"{override.input_line} is a range to search: add sweep=optuna_tpe, or list its values")
    return combinations(overrides)


def first_job(words: Sequence[str]) -> Words:
    """Overrides with the first value of each list and the lower end of each interval; without those for Hydra."""
    return tuple(_first(listed(word, folders(words))) for word in split(words)[0])


def _first(override: Override) -> str:
    if not override.is_sweep_override():
        return str(override.input_line)
    value = override.value()
    chosen = value.start if isinstance(value, IntervalSweep) else next(iter(override.sweep_string_iterator()))
    return f"{override.get_key_element()}={chosen}"


def listed(word: str, further: Sequence[Path] = ()) -> Override:
    """The parsed override, with ``glob(...)`` replaced by the matching choices of its group.

    Args:
        word: override of the command line.
        further: folders with further choices.
    """
    override = parse(word)
    value: Any = override.value() if override.is_sweep_override() else None
    if not isinstance(value, Glob):
        return override
    group = str(override.key_or_group)
    names = value.filter(all_choices(group, further))
    if not names:
        raise InputError(f"{word}: no choice of {override.key_or_group} fits the pattern")
    return parse(f"{override.get_key_element()}={','.join(names)}")


def base_config(words: Sequence[str]) -> DictConfig:
    """The config of :func:`first_job`, with Hydra's own settings under ``hydra``."""
    return compose_config([*first_job(words), *split(words)[1]], with_hydra=True)


def plan(words: Sequence[str], base: DictConfig) -> Plan:
    """Compose and check all unfinished jobs, and write the list of the sweep's runs.

    The run folder of each job is stored beside the runs and reused until a config changes, so that a finished study
    is read without composing.

    Args:
        words: overrides of the command line.
        base: result of :func:`base_config`.

    Raises:
        InputError: raised by :func:`metriscope.config.compose.compose_config` or :func:`metriscope.config.rules.check`
            for any job.
    """
    own, _ = split(words)
    words_of_jobs = expand(words)
    composer = Composer(words)
    memory = Path(base.hydra.sweep.dir) / f"{_digest(own)}.json"
    fingerprint = _fingerprint(folders(words), own)
    known: Sequence[Path | None] = _remembered(memory, fingerprint, words_of_jobs) or [None] * len(words_of_jobs)
    # A stored folder that does not exist may have another name by now, for example that of an earlier version.
    found = [
        folder if folder is not None and folder.exists() else _folder(composer(job))
        for job, folder in zip(words_of_jobs, known, strict=True)
    ]
    jobs = list({folder: Job(job, folder) for job, folder in zip(words_of_jobs, found, strict=True)}.values())
    states = [state_of(job.folder) for job in jobs]
    again = base.resume == "never"
    todo = [job for job, state in zip(jobs, states, strict=True) if again or state.status != FINISHED]
    # A wrong key of the last job is told before any part is imported.
    for rule in (check_keys, check):
        for job in todo:
            rule(composer(job.words))
    if found != known:
        _remember(memory.name, fingerprint, words, words_of_jobs, found)
    return Plan(jobs, states, todo)


def _folder(cfg: DictConfig) -> Path:
    try:
        return folder_of(plain(cfg))
    except Exception:
        check(cfg)  # raises an error of one line
        raise


def _remembered(memory: Path, fingerprint: str, jobs: Sequence[Words]) -> list[Path] | None:
    try:
        content = read_plan(memory)
        study, runs = memory.parents[1], content["runs"].items()
        by_words = {tuple(job): study / folder for folder, same in runs for job in same}
        return [by_words[job] for job in jobs] if content["fingerprint"] == fingerprint else None
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def _remember(
    name: str, fingerprint: str, words: Sequence[str], jobs: Sequence[Words], folders: Sequence[Path]
) -> None:
    """Write one file into each study in which the sweep has runs."""
    studies: dict[Path, dict[str, list[Words]]] = {}
    for job, folder in zip(jobs, folders, strict=True):
        study = folder.parents[2]
        studies.setdefault(study, {}).setdefault(folder.relative_to(study).as_posix(), []).append(job)
    for study, runs in studies.items():
        try:
            study.mkdir(parents=True, exist_ok=True)
            write_json(folder_in(study, PLANS) / name, {"command": words, "fingerprint": fingerprint, "runs": runs})
        except OSError as error:
            raise InputError(f"cannot write {study / PLANS}: {error.strerror}; set paths.output_dir") from error


def _fingerprint(further: Sequence[Path], words: Words) -> str:
    """Hash of everything other than the overrides that determines run folders."""
    files = [path for root in (CONFIG_DIR, *further) for path in sorted(root.rglob("*.yaml"))]
    versions = f"{metadata.version('hydra-core')} {metadata.version('omegaconf')}"
    # Relative paths in a config start at the working directory.
    # Another run may lie where init says.
    sources = [run_at(value) for word in words if word.startswith("init=") for value in word[5:].split(",")]
    digest = hashlib.sha256(f"{versions} {os.getcwd()} {sources}".encode())
    modules = (metriscope.run.identity.__file__, metriscope.run.vocabulary.__file__)
    for path in [*files, *map(Path, modules)]:
        content = path.read_bytes()
        digest.update(f"{path}\0{len(content)}\0".encode() + content)
        if b"oc.env" in content and path.suffix == ".yaml":
            digest.update(repr(sorted(os.environ.items())).encode())
    return digest.hexdigest()


def _digest(words: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:12]
