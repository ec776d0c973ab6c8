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
from metriscope.config.plain import plain
from metriscope.fair.definition import zero_shot_words
from metriscope.fair.models import concatenated_config, model_words
from metriscope.fair.spaces import Compose, Search
from metriscope.fair.words import FOLDS, Asked
from metriscope.fair.workers import Died, Task, Workers
from metriscope.run.identity import folder_of, located
from metriscope.run.ledger import Row
from metriscope.run.record import FINISHED, read_record
from metriscope.tracking.console import warning_as_line

_ZERO_SHOT = "zero-shot"


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

    Repeats of the same seed come one after the other, so that an unfinished study has pairs. Fold models are scored as
    one embedding as soon as all of them are there.

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
    jobs: deque[Task[str]] = deque()
    if manifest["zero_shot"] is not None:
        jobs.append(Task(_ZERO_SHOT, (evaluated, (zero_shot_words(asked),))))
    by_name = {search.entry.name: search for search in searches}
    winners = {(row.entry, row.trial): row for row in rows}
    whole: dict[str, _Whole] = {}
    for number in range(asked.repeats):
        for winner in manifest["winners"]:
            row = winners[winner["entry"], winner["trial"]]
            name, seed = f"{row.entry} seed {asked.seed + number}", f"seed={asked.seed + number}"
            models = [(*words, seed) for words in model_words(asked, by_name[row.entry], row)]
            if asked.models == FOLDS:
                found = _fold_models(name, models, manifest["hash"], compose)
                jobs.extend(found.waits.values())
                whole.update(dict.fromkeys(found.waits, found))
                if not found.waits and not found.done:
                    jobs.append(found.task)
            elif not _done(located(plain(compose(models[0]))), manifest["hash"]):
                jobs.append(Task(name, (trained, (models[0],))))
    failed: dict[str, str] = {}
    for name, result in workers.run(lambda: jobs.popleft() if jobs else None):
        repeat_ = whole.get(name)
        if isinstance(result, Died | str):
            line = f"{name} failed: {result if isinstance(result, str) else 'its process died'}"
            failed.setdefault(repeat_.task.key if repeat_ else name, line)
            say(line)
            continue
        if result is not None:
            say(f"{name}: {_headline(result)}")
        if repeat_ is not None:
            del repeat_.waits[name]
            if not repeat_.waits and not repeat_.done:
                jobs.appendleft(repeat_.task)
    return list(failed.values())


class _Whole(NamedTuple):
    """The fold models of a repeat.

    Attributes:
        task: scores them as one embedding.
        done: whether that has been done.
        waits: models that are missing, by the name of their task.
    """

    task: Task[str]
    done: bool
    waits: dict[str, Task[str]]


def _fold_models(name: str, models: Sequence[Sequence[str]], fair: str, compose: Compose) -> _Whole:
    configs = [located(plain(compose(words))) for words in models]
    done = _done(concatenated_config(configs), fair)
    waits = {}
    for fold, (words, config) in enumerate(zip(models, configs, strict=True)):
        there = _done(config, fair)
        kept = done or (folder_of(config) / "embeddings.npz").exists()
        if not (there and kept):
            task = f"{name} fold {fold}"
            # A model whose embeddings are gone is trained again, as its run folder says that it has finished.
            waits[task] = Task(task, (trained, ((*words, "resume=never") if there else tuple(words),)))
    return _Whole(Task(f"{name} concatenated", (concatenated, (tuple(models),))), done, waits)


def _done(config: Mapping[str, Any], fair: str) -> bool:
    record = read_record(folder_of(config))
    return record is not None and record.status == FINISHED and record.fair == fair


def _headline(figures: Mapping[str, float]) -> str:
    names = {"test/recall_at_1": "R@1", "test/map_at_r": "MAP@R"}
    return ", ".join(f"{title} {figures[key]:.4f}" for key, title in names.items() if key in figures)


def trained(words: Sequence[str]) -> Mapping[str, float] | str:
    """Figures of a run, or why it failed."""
    from metriscope.app import train

    return _quietly(lambda: train(compose_config(words)))


def concatenated(models: Sequence[Sequence[str]]) -> Mapping[str, float] | str:
    """Figures of the models of all folds, as one embedding, or why that failed."""
    from metriscope.fair.concatenated import concatenate

    begun = time.monotonic()
    return _quietly(lambda: concatenate([compose_config(words) for words in models], begun))


def evaluated(words: Sequence[str]) -> Mapping[str, float] | str:
    """Figures of the trunk without training, or why it failed."""
    from metriscope.evaluating import evaluate

    return _quietly(lambda: evaluate(words))


def _quietly(work: Callable[[], Any]) -> Mapping[str, float] | str:
    root, silent, showwarning = logging.getLogger(), logging.NullHandler(), warnings.showwarning
    warnings.showwarning = warning_as_line
    root.addHandler(silent)  # a run writes its lines to train.log, and to a terminal where nobody else takes them
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return {key: value for key, value in work().metrics.items() if isinstance(value, int | float)}
    except Exception as error:
        return " ".join(f"{type(error).__name__}: {error}".split())[:300]
    finally:
        warnings.showwarning = showwarning
        root.removeHandler(silent)
