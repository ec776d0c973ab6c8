"""Repeats of the winners of a fair comparison: ordinary runs in its folder, let test by the manifest."""

import contextlib
import io
import logging
import time
import warnings
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from metriscope.config.compose import compose_config
from metriscope.config.evaluates import EVALUATES, ZERO_SHOT
from metriscope.config.evaluating import of_pretrained
from metriscope.config.plain import plain
from metriscope.fair.definition import repeated_trials, zero_shot_words
from metriscope.fair.locks import TURN_SECONDS
from metriscope.fair.models import concatenated_config, model_words
from metriscope.fair.spaces import Compose, Search
from metriscope.fair.words import FOLDS, Asked
from metriscope.fair.workers import Died, Task, Workers
from metriscope.run.folder import Taken
from metriscope.run.identity import folder_of, located
from metriscope.run.ledger import Row
from metriscope.run.locks import is_held, lock_of
from metriscope.run.record import FINISHED, read_record
from metriscope.tracking.console import warning_as_line


def repeat(
    workers: Workers,
    asked: Asked,
    searches: Sequence[Search],
    rows: Sequence[Row],
    manifest: Mapping[str, Any],
    compose: Compose,
    say: Callable[[str], None] = print,
) -> list[str]:
    """Train and test the winners under all seeds, those that have finished aside, and evaluate the trunk alone.

    Where the manifest has default settings that are no winners, these are repeated alike. Those that another process
    works on are waited for. Repeats of the same seed come one after the other, so that an unfinished study has pairs.
    Fold models are scored as one embedding as soon as all of them are there.

    Args:
        workers: that train.
        asked, searches: what is compared.
        rows: the ledger.
        manifest: lets them test.
        compose: from the words of a run to its config.
        say: gets a line for each.

    Returns:
        a line for each repeat that failed.

    Raises:
        KeyboardInterrupt: a signal asked to stop; the runs at work have saved their state.
    """
    jobs: deque[_Job] = deque()
    if manifest["zero_shot"] is not None:
        words = zero_shot_words(asked)
        config = located({EVALUATES: ZERO_SHOT, **of_pretrained(words)})
        jobs.append(_Job(Task(ZERO_SHOT, (evaluated, (words,))), config))
    by_name = {search.entry.name: search for search in searches}
    trials = {(row.entry, row.trial): row for row in rows}
    won = {(winner["entry"], winner["trial"]) for winner in manifest["winners"]}
    for number in range(asked.repeats):
        for one in repeated_trials(manifest):
            row, seed = trials[one], f"seed={asked.seed + number}"
            name = f"{row.entry}{'' if one in won else ' untuned'} {seed.replace('=', ' ')}"
            models = [(*words, seed) for words in model_words(asked, by_name[row.entry], row)]
            configs = [located(plain(compose(words))) for words in models]
            if asked.models == FOLDS:
                jobs.extend(_fold_models(name, models, configs))
            else:
                jobs.append(_Job(Task(name, (trained, (models[0],))), configs[0]))
    return list(_carry_out(workers, jobs, manifest["hash"], say).values())


class _Job(NamedTuple):
    """A run of a repeat.

    Attributes:
        task: what a worker does, under the name of the run.
        config: of the run.
        whole: of a fold model: scores all models of its repeat as one embedding.
        others: of a fold model: the names of all models of its repeat.
    """

    task: Task[str]
    config: Mapping[str, Any]
    whole: "_Job | None" = None
    others: Sequence[str] = ()


def _fold_models(name: str, models: Sequence[Sequence[str]], configs: Sequence[Mapping[str, Any]]) -> list[_Job]:
    whole = _Job(Task(f"{name} concatenated", (concatenated, (tuple(models),))), concatenated_config(configs))
    names = [f"{name} fold {fold}" for fold in range(len(models))]
    return [
        _Job(Task(one, (trained, (words,))), config, whole, names)
        for one, words, config in zip(names, models, configs, strict=True)
    ]


def _carry_out(workers: Workers, jobs: deque[_Job], fair: str, say: Callable[[str], None]) -> dict[str, str]:
    """Do what is missing, of this process or of others; a line for each repeat that failed, by its name."""
    at_work: dict[str, _Job] = {}
    later: list[_Job] = []
    ended: set[str] = set()
    failed: dict[str, str] = {}

    def end(job: _Job) -> None:
        ended.add(job.task.key)
        if job.whole is not None and ended.issuperset(job.others):
            jobs.appendleft(job.whole)

    def next_task() -> Task[str] | None:
        while jobs:
            job = jobs.popleft()
            task = _missing(job, fair)
            if task is None:
                end(job)
            elif is_held(lock_of(folder_of(job.config))):
                later.append(job)
            else:
                at_work[task.key] = job
                return task
        return None

    while jobs:
        for name, result in workers.run(next_task):
            job = at_work.pop(name)
            if result is None:
                later.append(job)
            elif isinstance(result, Died | str):
                line = f"{name} failed: {result if isinstance(result, str) else 'its process died'}"
                failed.setdefault(job.whole.task.key if job.whole else name, line)
                say(line)
            else:
                say(f"{name}: {_headline(result)}")
                end(job)
        if later:  # other processes are at work on them
            time.sleep(TURN_SECONDS)
            jobs.extend(later)
            later.clear()
    return failed


def _missing(job: _Job, fair: str) -> Task[str] | None:
    """What is to be done for a run; None where it has finished."""
    if not _done(job.config, fair):
        return job.task
    if job.whole is None or (folder_of(job.config) / "embeddings.npz").exists() or _done(job.whole.config, fair):
        return None
    # A model whose embeddings are gone is trained again, as its run folder says that it has finished.
    ((function, (words,)), key) = job.task.call, job.task.key
    return Task(key, (function, ((*words, "resume=never"),)))


def _done(config: Mapping[str, Any], fair: str) -> bool:
    record = read_record(folder_of(config))
    return record is not None and record.status == FINISHED and record.fair == fair


def _headline(figures: Mapping[str, float]) -> str:
    names = {"test/recall_at_1": "R@1", "test/map_at_r": "MAP@R"}
    return ", ".join(f"{title} {figures[key]:.4f}" for key, title in names.items() if key in figures)


def trained(words: Sequence[str]) -> Mapping[str, float] | str | None:
    """Figures of a run, or why it failed."""
    from metriscope.app import train

    return _quietly(lambda: train(compose_config(words)))


def concatenated(models: Sequence[Sequence[str]]) -> Mapping[str, float] | str | None:
    """Figures of the models of all folds, as one embedding, or why that failed."""
    from metriscope.fair.concatenated import concatenate

    begun = time.monotonic()
    return _quietly(lambda: concatenate([compose_config(words) for words in models], begun))


def evaluated(words: Sequence[str]) -> Mapping[str, float] | str | None:
    """Figures of the trunk without training, or why it failed."""
    from metriscope.evaluating import evaluate

    return _quietly(lambda: evaluate(words))


def _quietly(work: Callable[[], Any]) -> Mapping[str, float] | str | None:
    """Figures of a run, why it failed, or None where another process works on it."""
    root, silent, showwarning = logging.getLogger(), logging.NullHandler(), warnings.showwarning
    warnings.showwarning = warning_as_line
    root.addHandler(silent)  # a run writes its lines to train.log, and to a terminal where nobody else takes them
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return {key: value for key, value in work().metrics.items() if isinstance(value, int | float)}
    except Taken:
        return None
    except Exception as error:
        return " ".join(f"{type(error).__name__}: {error}".split())[:300]
    finally:
        warnings.showwarning = showwarning
        root.removeHandler(silent)
