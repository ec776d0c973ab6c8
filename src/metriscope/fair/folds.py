"""Trials of a fair comparison on folds of the training classes, in a worker: no run folder, no test classes."""

import json
import logging
import math
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from metriscope.build.callbacks import build_diagnostics, build_evaluation
from metriscope.build.network import KeptTrunk
from metriscope.build.normalisation import normalisation
from metriscope.build.run import data_of, learner_of, network_of, objective_of
from metriscope.build.trainer import build_trainer
from metriscope.callbacks.finite import BatchGuard
from metriscope.config.callbacks import callback_sections
from metriscope.config.sections import SECTIONS
from metriscope.data.inputs.augment import Augmentation
from metriscope.data.loading import load_splits
from metriscope.data.splits import Splits
from metriscope.errors import InputError, RunError
from metriscope.evaluation.monitors import Monitor
from metriscope.evaluation.set_metric import asked_metrics
from metriscope.models.backbones import build_trunk
from metriscope.models.network import Network
from metriscope.parts import instantiate
from metriscope.run.ledger import COMPLETE, FAILED, PRUNED
from metriscope.run.shortages import shortage

log = logging.getLogger(__name__)

Config = Mapping[str, Any]
_TRUNK = KeptTrunk()
"""Folds, and trials of the same number, have the frozen trunk in common."""


@dataclass(frozen=True)
class Found:
    """What the data and the networks of a comparison say before anything is trained.

    Attributes:
        content: fingerprint of training and test half.
        learns: whether ``head`` and ``loss`` have parameters, of each config in turn.
    """

    content: Mapping[str, Any]
    learns: Sequence[Mapping[str, bool]]


@dataclass(frozen=True)
class Result:
    """What came of a trial; as in :class:`metriscope.run.ledger.Row`, and why it failed."""

    folds: tuple[float, ...]
    value: float | None
    status: str
    steps: int | None
    seconds: float
    reason: str | None = None


class _Once(logging.Filter):
    """Lets every line of a logger pass once."""

    def __init__(self) -> None:
        super().__init__()
        self.said: set[tuple[str, str]] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is new; the same answer for all handlers of a record."""
        line = record.name, record.getMessage()
        new: bool = record.__dict__.setdefault("is_new", line not in self.said)
        self.said.add(line)
        return new


_ONCE = _Once()


@contextmanager
def _each_line_once() -> Iterator[None]:
    """Folds are loaded again and again: what is said of the data, a process says once."""
    handlers = [one for one in (*logging.getLogger().handlers, logging.lastResort) if one is not None]
    for handler in handlers:
        handler.addFilter(_ONCE)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(_ONCE)


@_each_line_once()
def look(configs: Sequence[Config], folds: int) -> Found:
    """Load the data once, check the folds, and count what learns.

    Raises:
        InputError: the data are missing, folds leave a class alone or hold fewer than two classes, or a config does
            not fit the data.
    """
    whole = load_splits({**configs[0]["dataset"], "fold": 0, "validation": 0})
    for fold in range(folds):
        try:
            splits = _splits(configs[0], fold, folds)
        except InputError as error:
            raise InputError(f"folds={folds} cannot be made of these data ({error}): give another number") from error
        _check_fold(splits, fold, folds)
    return Found(whole.fingerprint["content"], [_learning(config, whole) for config in configs])


def _check_fold(splits: Splits, fold: int, folds: int) -> None:
    held_out = splits.validation
    assert held_out is not None
    named = f"folds={folds}: fold {fold}"
    for what, part in (("training", splits.train), ("the held-out part", held_out)):
        counts = torch.bincount(part.labels, minlength=part.num_classes)
        if int((counts > 0).sum()) < 2:
            raise InputError(f"{named} leaves fewer than two classes in {what}: give fewer folds, or more classes")
        alone = (counts < 2).nonzero().flatten().tolist() if splits.protocol == "closed_set" else []
        if alone:
            raise InputError(
                f"{named} leaves class {part.classes[alone[0]]!r} with {int(counts[alone[0]])} of its samples in "
                f"{what}, where none other can be found: give fewer folds, or more samples of each class"
            )


def _learning(config: Config, splits: Splits) -> dict[str, bool]:
    network = _network(json.dumps([config["backbone"], config["head"], config["dataset"]]), _shape(config, splits))
    objective = objective_of(
        config,
        splits.train.num_classes,
        network.size,
        trunk_size=network.trunk.out_features,
        num_samples=len(splits.train),
    )
    parts = {"head": network.head, "loss": objective}
    return {name: any(p.requires_grad for p in part.parameters()) for name, part in parts.items()}


def _shape(config: Config, splits: Splits) -> tuple[int, ...]:
    """Of one example as the network gets it; no image is read."""
    stored = splits.train.shape
    mean, std = normalisation(config["dataset"], config["backbone"], stored[0])
    arguments = SECTIONS["augmentation"].arguments(config["augmentation"])
    augment: Augmentation = instantiate(arguments, "augmentation", mean=mean, std=std)
    return augment.output_shape(stored)


@lru_cache(maxsize=1)
def _network(sections: str, shape: tuple[int, ...]) -> Network:
    """The network of sections that many configs have in common, built once."""
    backbone, head, dataset = json.loads(sections)
    return network_of({"backbone": backbone, "head": head, "dataset": dataset, "seed": 0}, shape)


@_each_line_once()
def trial(config: Config, folds: int, goal: Monitor, best: Sequence[float] | None, prune: float | None) -> Result:
    """Train on all folds but one, measure on it, and so on in turn; stop where the trial clearly loses.

    It loses clearly where the mean of its folds so far is worse than that of the best trial on the same folds by more
    than a share ``prune`` of it.

    Args:
        config: checked; its fold does not matter.
        folds: how many there are.
        goal: the metric and its better end.
        best: what the best trial of the entry so far has on each fold; None: there is none.
        prune: the share; None: all folds are trained.

    Raises:
        RunError: disk or memory are not enough, which is no fault of the setting.
    """
    begun = time.monotonic()
    values: list[float] = []
    steps: list[int] = []

    def result(status: str, reason: str | None = None) -> Result:
        whole = status == COMPLETE
        mean = math.fsum(values) / len(values) if whole else None
        budget = max(1, round(sum(steps) / len(steps))) if steps and status != FAILED else None
        return Result(tuple(values), mean, status, budget, round(time.monotonic() - begun, 3), reason)

    for fold in range(folds):
        try:
            value, step = _fit(config, _splits(config, fold, folds), goal)
        except OSError as error:
            raise RunError(shortage(error, Path()) or str(error)) from error
        except Exception as error:
            log.debug("fold %d failed", fold, exc_info=True)
            return result(FAILED, " ".join(f"{type(error).__name__}: {error}".split())[:300])
        values.append(value)
        steps.append(step)
        if fold < folds - 1 and best is not None and prune is not None and _loses(values, best, goal, prune):
            return result(PRUNED)
    return result(COMPLETE)


def _loses(values: Sequence[float], best: Sequence[float], goal: Monitor, share: float) -> bool:
    own, other = (math.fsum(one[: len(values)]) / len(values) for one in (values, best))
    behind = other - own if goal.mode == "max" else own - other
    return behind > share * abs(other)


def _splits(config: Config, fold: int, folds: int) -> Splits:
    section = {**config["dataset"], "fold": fold, "validation": 1 / folds}
    seed = config["seed"] if section.get("label_noise") else None
    return _kept(json.dumps(section), seed)


@lru_cache(maxsize=8)
def _kept(section: str, seed: int | None) -> Splits:
    """Training and held-out part of a fold; the held-out part stands in for the test half, which stays sealed.

    Both are parts of ``dataset.train_share``, which repeats train on.
    """
    splits = load_splits(json.loads(section), seed, share_first=True)
    assert splits.validation is not None
    return replace(splits, test=splits.validation, queries=None)


def _fit(config: Config, splits: Splits, goal: Monitor) -> tuple[float, int]:
    """The metric of the held-out part at its best epoch, and the optimizer steps up to there."""
    data = data_of(config, splits)
    module = learner_of(config, data, _TRUNK if _leaves_trunks_alone(config) else build_trunk)
    watch = _Best(goal)
    callbacks = [*_measuring(config, goal), *_own(config), BatchGuard(config["trainer"]["log_every_n_steps"]), watch]
    options = {**config["trainer"], "enable_checkpointing": False}
    trainer = build_trainer(options, callbacks, [], Path(tempfile.gettempdir()), config["evaluation"]["every_n_epochs"])
    try:
        trainer.fit(module, datamodule=data)
    except SystemExit as error:  # Lightning's answer to Ctrl-C
        raise KeyboardInterrupt from error
    if watch.value is None:
        raise RunError(f"{goal.metric} was not measured, or never finite")
    return watch.value, watch.step


def _leaves_trunks_alone(config: Config) -> bool:
    """Whether nothing changes a frozen trunk: no callback of one's own, no compilation, no weights of half the bits."""
    precision = str(config["trainer"]["precision"])
    return not (_own(config) or config["compile"]) and (precision.startswith("32") or "mixed" in precision)


def _measuring(config: Config, goal: Monitor) -> list[pl.Callback]:
    """The callbacks that log the metric, and as little else as possible."""
    evaluation = config["evaluation"]
    name = goal.metric.removeprefix("val/")
    keys = [one.key for one in asked_metrics(evaluation) if any(name.startswith(f.key) for f in one.figures)]
    if not keys:
        diagnostics = build_diagnostics(config["diagnostics"], evaluation, config["trainer"]["log_every_n_steps"])
        return [build_evaluation(evaluation), *diagnostics]
    metrics = {key: evaluation["metrics"][key] for key in keys}
    return [build_evaluation({**evaluation, "metrics": metrics, "per_class": False, "per_query": False})]


def _own(config: Config) -> list[pl.Callback]:
    sections = callback_sections("callbacks", config["callbacks"], config["evaluation"])
    return [instantiate(section, where) for where, section in sections]


class _Best(pl.Callback):
    """Keeps the best value of a metric, and the optimizer steps that led there."""

    def __init__(self, goal: Monitor) -> None:
        self.goal = goal
        self.value: float | None = None
        self.step = 0

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        found = trainer.callback_metrics.get(self.goal.metric)
        if found is None or not math.isfinite(float(found)):
            return
        value = float(found)
        better = self.value is None or (value > self.value if self.goal.mode == "max" else value < self.value)
        if better:
            self.value, self.step = value, trainer.global_step
