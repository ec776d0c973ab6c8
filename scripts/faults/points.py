"""Points of a run at which a fault is injected: a function by its name, the call of it, and before or after."""

import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from faults.strikes import FLIP_BEST, FLIP_LAST, FULL, KILL, TEAR, TERM, VANISH

Calls = Callable[..., bool]


class Missing(Exception):
    """A function that a point names is no longer there."""


@dataclass(frozen=True)
class Point:
    """A moment of a run.

    Attributes:
        name: what it is called on the command line.
        function: ``module:name`` or ``module:class.name`` of the function that is patched.
        when: ``before`` or ``after`` its call.
        faults: those that can happen there.
        nth: the call that counts, from 1, among those of which ``which`` holds.
        which: what the arguments of a call have to be.
        needs: the words that the run has in addition, by their name in :data:`faults.runs.FURTHER`.
        resumed: whether it is in the start of a run that was killed before.
    """

    name: str
    function: str
    when: str
    faults: Sequence[str]
    nth: int = 1
    which: Calls = lambda *args, **kwargs: True
    needs: str = "plain"
    resumed: bool = False

    def owner(self) -> tuple[Any, str]:
        """The module or class that holds the function, and the name that it has there.

        Raises:
            Missing: it is not there.
        """
        module, _, path = self.function.partition(":")
        *parents, name = path.split(".")
        try:
            owner = import_module(module)
            for parent in parents:
                owner = getattr(owner, parent)
            there = callable(getattr(owner, name))
        except (ImportError, AttributeError):
            there = False
        if not there:
            raise Missing(f"{self.name}: there is no function {self.function}; name the one that does its work now")
        return owner, name

    def patch(self, strike: Callable[[], None], flag: Path) -> None:
        """Let the function strike once, in this process and those that it starts; ``flag`` says that it has."""
        owner, name = self.owner()
        original = getattr(owner, name)
        calls = 0

        def fire() -> None:
            try:
                flag.touch(exist_ok=False)
            except FileExistsError:
                return
            strike()

        @functools.wraps(original)
        def patched(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            counts = self.which(*args, **kwargs)
            calls += counts
            here = counts and calls == self.nth
            if here and self.when == "before":
                fire()
            found = original(*args, **kwargs)
            if here and self.when == "after":
                fire()
            return found

        setattr(owner, name, patched)


def _becomes(name: str) -> Calls:
    return lambda draft, path, *_, **__: Path(path).name == name


def _finishes(draft: Any, path: Any, *_: Any, **__: Any) -> bool:
    return Path(path).name == "run.json" and json.loads(Path(draft).read_bytes())["status"] == "finished"


def _of_the_epoch(self: Any, metrics: Any, *_: Any, **__: Any) -> bool:
    return "train/loss" in metrics


def _of_a_step(self: Any, metrics: Any, *_: Any, **__: Any) -> bool:
    return any(key.endswith("_step") for key in metrics)


def _in_a_worker(*_: Any, **__: Any) -> bool:
    from torch.utils.data import get_worker_info

    return get_worker_info() is not None


REPLACE, SAVE = "os:replace", "torch:save"
LOG = "metriscope.tracking.history:HistoryLogger.log_metrics"
CUT = "metriscope.tracking.history:HistoryLogger.resume_from"
MONITOR = "metriscope.callbacks.evaluation:EvaluationMonitor"
STOP, WRITE = (KILL, TERM), (KILL, TERM, FULL, VANISH)

# Five steps an epoch, three epochs; validation after each, its best checkpoint, then the last one.
POINTS = (
    Point("before-record", REPLACE, "before", WRITE, which=_becomes("run.json")),
    Point("after-record", REPLACE, "after", (*STOP, VANISH), which=_becomes("run.json")),
    Point("data-loaded", "metriscope.data.loading:load_splits", "after", STOP),
    Point("network-built", "metriscope.build.run:build_network", "after", STOP),
    Point("first-step", "metriscope.training.learner:MetricLearner.training_step", "after", STOP),
    Point("batch-read", "metriscope.data.batch_dataset:BatchDataset.__getitem__", "before", STOP, nth=9),
    Point("after-backward", "torch:Tensor.backward", "after", STOP, nth=8),
    # It is called for each group of parameters, of which there are two or three.
    Point("amid-optimizer-step", "torch.optim.adam:adam", "before", STOP, nth=14),
    Point("before-observed", "metriscope.objectives.objective:Objective.learners", "before", STOP, nth=9),
    Point("before-step-row", LOG, "before", STOP, nth=7, which=_of_a_step),
    Point("after-step-row", LOG, "after", (*STOP, VANISH, TEAR), nth=7, which=_of_a_step),
    Point("amid-row", "metriscope.tracking.history:_line", "before", (KILL, FULL), nth=15),
    Point("before-epoch-row", LOG, "before", STOP, nth=2, which=_of_the_epoch),
    Point("after-epoch-row", LOG, "after", STOP, nth=2, which=_of_the_epoch),
    Point("amid-validation", f"{MONITOR}.follow", "before", STOP, nth=2),
    Point("validation-measured", f"{MONITOR}.finish", "after", STOP, nth=2),
    Point("before-best", REPLACE, "before", WRITE, nth=2, which=_becomes("best.ckpt")),
    Point("between-best-and-last", REPLACE, "after", (*STOP, VANISH), nth=2, which=_becomes("best.ckpt")),
    Point("last-not-synced", SAVE, "after", WRITE, nth=4),
    Point("before-last", REPLACE, "before", WRITE, nth=2, which=_becomes("last.ckpt")),
    Point("after-last", REPLACE, "after", (*STOP, VANISH, FLIP_LAST, FLIP_BEST), nth=2, which=_becomes("last.ckpt")),
    Point("after-last-of-a-schedule", REPLACE, "after", STOP, nth=2, which=_becomes("last.ckpt"),
          needs="schedule by epochs"),
    Point("after-last-of-a-plateau", REPLACE, "after", STOP, nth=2, which=_becomes("last.ckpt"),
          needs="schedule by a metric"),
    Point("before-cut", CUT, "before", STOP, resumed=True),
    Point("after-cut", CUT, "after", STOP, resumed=True),
    Point("worker", "metriscope.data.batch_dataset:BatchDataset.__getitem__", "before", STOP, nth=3, which=_in_a_worker,
          needs="workers"),
    Point("amid-test", f"{MONITOR}.finish", "before", (*STOP, FLIP_LAST, FLIP_BEST), nth=4),
    Point("amid-test-stopped-early", "metriscope.ending:report", "before", STOP, needs="stopping early"),
    Point("before-embeddings", REPLACE, "before", WRITE, which=_becomes("embeddings.npz")),
    Point("amid-figures", "matplotlib.figure:Figure.savefig", "before", WRITE, nth=2, needs="figures"),
    Point("before-summary", REPLACE, "before", WRITE, which=_becomes("summary.json")),
    Point("after-summary", REPLACE, "after", (*STOP, VANISH), which=_becomes("summary.json")),
    Point("before-finished", REPLACE, "before", WRITE, which=_finishes),
    Point("after-finished", REPLACE, "after", (*STOP, VANISH), which=_finishes),
)  # fmt: skip
QUICK = ("before-record", "amid-optimizer-step", "before-epoch-row", "between-best-and-last", "after-last",
         "amid-test", "before-summary")  # fmt: skip


def by_name(names: Sequence[str]) -> list[Point]:
    """The points with these names, in the order of a run.

    Raises:
        Missing: there is no such point.
    """
    known = {point.name: point for point in POINTS}
    for name in names:
        if name not in known:
            raise Missing(f"{name}: no such point. There are: {', '.join(known)}")
    return [point for point in POINTS if point.name in names]
