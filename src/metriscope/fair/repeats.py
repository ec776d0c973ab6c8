"""Repeats of the winners of a fair comparison: ordinary runs in its folder, let test by the manifest."""

import contextlib
import io
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from omegaconf import DictConfig

from metriscope.config.compose import compose_config
from metriscope.config.plain import plain
from metriscope.fair.definition import repeat_words, zero_shot_words
from metriscope.fair.spaces import Compose, Search
from metriscope.fair.words import Asked
from metriscope.fair.workers import Died, Task, Workers
from metriscope.run.identity import folder_of, located
from metriscope.run.ledger import Row
from metriscope.run.record import FINISHED, read_record

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

    Repeats of the same seed come one after the other, so that an unfinished study has pairs.

    Args:
        workers: that train.
        asked, searches: what is compared.
        rows: the ledger.
        manifest: lets them test.
        compose: from the words of a run to its config.
        say: gets a line for each.

    Returns:
        a line for each that failed.

    Raises:
        KeyboardInterrupt: a signal asked to stop; the runs at work have saved their state.
    """
    jobs: deque[Task[str]] = deque()
    if manifest["zero_shot"] is not None:
        jobs.append(Task(_ZERO_SHOT, (evaluated, (zero_shot_words(asked),))))
    by_name = {search.entry.name: search for search in searches}
    winners = {(row.entry, row.trial): row for row in rows}
    for number in range(asked.repeats):
        for winner in manifest["winners"]:
            row = winners[winner["entry"], winner["trial"]]
            words = (*repeat_words(by_name[row.entry], row), f"seed={asked.seed + number}")
            if not _done(compose(words), manifest["hash"]):
                jobs.append(Task(f"{row.entry} seed {asked.seed + number}", (trained, (words,))))
    failed = []
    for name, result in workers.run(lambda: jobs.popleft() if jobs else None):
        if isinstance(result, Died | str):
            failed.append(f"{name} failed: {result if isinstance(result, str) else 'its process died'}")
            say(failed[-1])
        elif result is not None:
            say(f"{name}: {_headline(result)}")
    return failed


def _done(cfg: DictConfig, fair: str) -> bool:
    record = read_record(folder_of(located(plain(cfg))))
    return record is not None and record.status == FINISHED and record.fair == fair


def _headline(figures: Mapping[str, float]) -> str:
    names = {"test/recall_at_1": "R@1", "test/map_at_r": "MAP@R"}
    return ", ".join(f"{title} {figures[key]:.4f}" for key, title in names.items() if key in figures)


def trained(words: Sequence[str]) -> Mapping[str, float] | str:
    """Figures of a run, or why it failed."""
    from metriscope.app import train

    return _quietly(lambda: train(compose_config(words)))


def evaluated(words: Sequence[str]) -> Mapping[str, float] | str:
    """Figures of the trunk without training, or why it failed."""
    from metriscope.evaluating import evaluate

    return _quietly(lambda: evaluate(words))


def _quietly(work: Callable[[], Any]) -> Mapping[str, float] | str:
    root, silent = logging.getLogger(), logging.NullHandler()
    root.addHandler(silent)  # a run writes its lines to train.log, and to a terminal where nobody else takes them
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return {key: value for key, value in work().metrics.items() if isinstance(value, int | float)}
    except Exception as error:
        return " ".join(f"{type(error).__name__}: {error}".split())[:300]
    finally:
        root.removeHandler(silent)
