"""``metriscope reproduce ... tuned=true``: a fair comparison of each data set, and claims decided on its winners."""

import importlib.util
import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from metriscope.errors import Exit, InputError, RunError

if TYPE_CHECKING:
    from metriscope.fair.words import Asked
    from metriscope.reports.experiments import Experiment
    from metriscope.reports.fair_study import FairStudy

_BUDGET = {"trials": "10", "folds": "3", "repeats": "5"}
_OF_FAIR = (*_BUDGET, "search", "prune", "workers", "seed")
# What no experiment leaves open.
_OWN = {"dataset", "loss", "losses", "untuned", "experiment"}
_FOR_ENTRY = re.compile(r"[\w/-]+:[^=]+=.*", re.DOTALL)


def is_asked(words: Sequence[str]) -> bool:
    """Whether the words have tuned=true.

    Raises:
        InputError: another value, or words of a search without it.
    """
    given = [word for word in words if word.partition("=")[0] == "tuned"]
    for word in given:
        if word not in ("tuned=true", "tuned=false"):
            raise InputError(f"{word}: it has to be true or false")
    if given[-1:] == ["tuned=true"]:
        return True
    alone = [word for word in words if word.partition("=")[0] in (*_BUDGET, "search", "prune", "workers")]
    if given or alone:
        raise InputError(f"{(alone or given)[0]} is for tuned=true: give that too, or leave it out")
    return False


def reproduce(name: str, words: Sequence[str], report_only: bool, out: Path | None) -> int:
    """Tune, seal and repeat the losses of an experiment on all data sets at hand, and decide its claims.

    Args:
        name: of the experiment.
        words: of the command line, tuned=true among them.
        report_only: train nothing; report on the data sets whose repeats are there.
        out: folder of the report; None: ``report`` below the studies.

    Returns:
        the exit code.

    Raises:
        InputError: wrong words, a package that is missing, or nothing to report on.
        KeyboardInterrupt: a signal asked to stop.
    """
    from metriscope.config.compose import compose_config
    from metriscope.config.search_path import of_search_path
    from metriscope.config.words import parse
    from metriscope.reports.experiments import EXPERIMENTS
    from metriscope.reports.report_folder import report_folder
    from metriscope.reports.tuned_claims import write_tuned

    experiment = EXPERIMENTS[name]
    words = [word for word in words if not word.startswith("tuned=")]
    _check(name, experiment, words)
    own = [word for word in words if word.partition("=")[0] in _OF_FAIR or _FOR_ENTRY.fullmatch(word)]
    runs = [word for word in words if word not in own]
    # What names folders and scale; other words may need a data set.
    naming = [word for word in runs if str(parse(word).key_or_group).split(".")[0] in ("scale", "paths")]
    cfg = compose_config([f"experiment={experiment.config}", *of_search_path(runs), *naming])
    place = f"{cfg.study}-tuned-{cfg.scale.name}"
    folder = Path(cfg.paths.output_dir) / place
    studies: dict[str, FairStudy] = {}
    notes, lacking, failed = [], [], False
    for choice, asked in _asked(experiment, own, runs, place, Path(cfg.paths.data_dir), cfg.scale.name == "laptop"):
        if asked is None:
            print(f"reproduce: {choice}")
            notes.append(choice)
            continue
        with _said_for_this_command():
            if not report_only:
                failed |= not _compared(choice, asked)
            found = _closed(folder / choice)
        if isinstance(found, str):
            lacking.append(f"{choice}: {found}; left out")
        else:
            studies[choice] = found
    if not studies:
        further = "; the same command without --report-only goes on" if report_only and lacking else ""
        raise InputError(f"nothing to report on: {(lacking or notes)[0]}{further}")
    told = [word for word in words if not word.startswith("paths.")]
    spoken = shlex.join(["metriscope", "reproduce", name, "tuned=true", *told])
    report = report_folder(folder, out)
    for one in write_tuned(studies, experiment, report, spoken, [*lacking, *notes]):
        print(f"claim {one.tuned.claim.number}: {one.line}: {one.tuned.claim.text}")
    print(f"report: {report / 'README.md'}")
    return Exit.RUN_FAILED if failed else Exit.FINISHED


def _check(name: str, experiment: "Experiment", words: Sequence[str]) -> None:
    """Refuse experiments and words that cannot be tuned.

    Raises:
        InputError: naming them.
    """
    from metriscope.config.words import parse

    if not experiment.losses:
        swept = ", ".join(experiment.swept)
        raise InputError(
            f"{name} tuned=true: it sweeps {swept}, so there is no search over each loss alone; experiments that "
            "compare losses and nothing else, such as contrastive_vs_triplet, can be tuned"
        )
    if importlib.util.find_spec("optuna") is None:
        raise InputError("tuned=true needs a package: pip install optuna")
    for word in words:
        key = word.partition("=")[0]
        if key == "study":
            raise InputError("study is the experiment's own: leave it out; for another place set paths.output_dir")
        if key in _OWN:
            raise InputError(f"{key} is the experiment's own: leave it out; data sets that are at hand are found")
        if key == "seed" and not re.fullmatch(r"seed=\d+", word):
            raise InputError(f"{word}: give repeats=N in its place, and the first seed as seed=...")
        if key not in _OF_FAIR and not _FOR_ENTRY.fullmatch(word) and parse(word).is_discrete_sweep():
            raise InputError(
                f"{word} gives several values, and tuned=true searches the best one itself: give one value, or a range "
                f"to search, as in '{key}=interval(0.1,0.5)'"
            )


def _asked(
    experiment: "Experiment", own: Sequence[str], runs: Sequence[str], place: str, data_dir: Path, laptop: bool
) -> "list[tuple[str, Asked | None]]":
    """A fair comparison of each data set at hand, by its name; without one, a line on what is missing."""
    from metriscope.config.words import keys_of
    from metriscope.fair.words import read

    given = {word.partition("=")[0] for word in own}
    budget = [*own, *(f"{key}={value}" for key, value in _BUDGET.items() if key not in given)]
    set_by_hand = keys_of(runs)
    found: list[tuple[str, Asked | None]] = []
    for data in experiment.data:
        choice = data.at_hand(data_dir)
        if choice is None:
            found.append((data.missing, None))
            continue
        # The command line wins over what a data set recommends.
        further = [word for word in data.overrides(laptop, tuned=True) if not keys_of([word]) & set_by_hand]
        asked = read([
            f"losses={','.join(experiment.losses)}", f"experiment={experiment.config}", f"dataset={choice}",
            *further, *runs, *budget, f"study={place}/{choice}",
        ])  # fmt: skip
        found.append((choice, replace(asked, untuned=True)))
    return found


@contextmanager
def _said_for_this_command() -> Iterator[None]:
    """Errors that advise another study advise another folder: the study is the experiment's own."""
    try:
        yield
    except InputError as error:
        raise InputError(re.sub(r"set another(?: study)?\b", "set another paths.output_dir", str(error))) from error


def _compared(choice: str, asked: "Asked") -> bool:
    """Compare on one data set, as far as that is not done; whether all of it finished.

    Raises:
        InputError: wrong words, data that do not fit them, or the folder of another study.
        KeyboardInterrupt: a signal asked to stop.
    """
    from metriscope.fair.study import compare

    print(f"reproduce: {choice}", flush=True)
    try:
        return compare(asked)
    except RunError as error:
        print(f"reproduce: {error}", flush=True)
        return False


def _closed(folder: Path) -> "FairStudy | str":
    """The comparison in a folder with its repeats, or why there is nothing to report on.

    Raises:
        InputError: its files were edited.
    """
    from metriscope.fair.standing import standing
    from metriscope.reports.fair_study import read_fair
    from metriscope.run.fair import is_fair

    if not is_fair(folder):
        return "not begun"
    if line := standing(folder):
        return line
    study = read_fair(folder)
    return study if study.runs is not None and study.runs.finished else study.notes[0]
