"""A fair comparison from its words to its repeats; the same words go on after an interruption."""

import importlib.util
from pathlib import Path

from metriscope.errors import InputError, RunError
from metriscope.fair.definition import begin, close, definition_of, repeated_trials
from metriscope.fair.locks import locked
from metriscope.fair.repeats import repeat
from metriscope.fair.search import Searching
from metriscope.fair.spaces import Search, Start, composer_of, goal_of, search_of, start_of
from metriscope.fair.words import FOLDS, Asked
from metriscope.fair.workers import Task, Workers, working
from metriscope.run.fair import DEFINITION
from metriscope.run.identity import located


def compare(asked: Asked) -> bool:
    """Search, seal, repeat, report; prints where it stands.

    Several processes may do so in one folder, on one machine or on several that share a file system: they share the
    trials and the repeats, and what comes of it is what comes of one process.

    Returns:
        whether all repeats finished.

    Raises:
        InputError: wrong words, data that do not fit them, or the folder of another study.
        RunError: no entry has a winner, or disk or memory are not enough.
        KeyboardInterrupt: a signal asked to stop.
    """
    if importlib.util.find_spec("optuna") is None:
        raise InputError("metriscope fair needs a package: pip install optuna")
    starts = [start_of(asked, entry) for entry in asked.entries]
    config = located(starts[0].config)
    folder = Path(config["paths"]["output_dir"]) / str(config["study"])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with working(asked.workers) as workers:
            return _compare(asked, starts, folder, workers)
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(f"interrupted: the same command goes on with {folder}") from error


def _compare(asked: Asked, starts: list[Start], folder: Path, workers: Workers) -> bool:
    from metriscope.fair.folds import look

    goal = goal_of(starts[0])
    configs = [start.config for start in starts]
    if asked.models == FOLDS and configs[0]["evaluation"].get("distractors"):
        raise InputError("models=folds keeps no embeddings of distractors: leave evaluation.distractors out")
    looked = iter([Task("data", (look, (configs, asked.folds)))])
    ((_, found),) = workers.run(lambda: next(looked, None))
    searches: list[Search] = [search_of(start, learns) for start, learns in zip(starts, found.learns, strict=True)]
    with locked(folder):
        definition = begin(folder, definition_of(asked, searches, configs, found.content, goal))
    compose = composer_of(asked)
    searching = Searching(folder, asked, searches, goal, compose)
    print(f"{folder / DEFINITION}: {searching.summary()}", flush=True)
    searching.carry_out(workers, _say)
    with locked(folder):
        manifest = close(folder, definition, asked, searches, searching.everything, compose)
    print(f"search closed: {searching.summary()}; manifest {manifest['hash']}", flush=True)
    won = {winner["entry"] for winner in manifest["winners"]}
    for search in searches:
        if search.entry.name not in won:
            print(f"{search.entry.name}: none of its trials is complete, so it has no repeats", flush=True)
    if not won:
        raise RunError(f"{folder}: no entry has a complete trial, so there is nothing to repeat")
    failed = repeat(workers, asked, searches, searching.everything, manifest, compose, _say)
    total = asked.repeats * len(repeated_trials(manifest))
    print(f"{folder}: {total - len(failed)} of {total} repeats finished", flush=True)
    from metriscope.reports.fair_report import write_fair_report

    with locked(folder):
        print(f"report: {write_fair_report(folder)}", flush=True)
    return not failed


def _say(line: str) -> None:
    print(line, flush=True)
