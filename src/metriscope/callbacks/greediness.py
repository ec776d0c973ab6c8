"""The callback that logs a loss during training: its value, active ratios, gradient norms and decay."""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import pytorch_lightning as pl
import torch
from pydantic import Field
from torch import Tensor

from metriscope import seeds
from metriscope.diagnostics.activity import (
    PairActivity,
    Pulls,
    pair_activity,
    proxy_activity,
    pulls_of_matrix,
    pulls_of_slopes,
)
from metriscope.diagnostics.averages import Averages, Measures, ratio
from metriscope.diagnostics.decay import decay_rate
from metriscope.diagnostics.gradients import embedding_norms, parameter_norms
from metriscope.diagnostics.hardness import BatchHardness
from metriscope.diagnostics.prototypes import PrototypeUsage, vectors_per_class
from metriscope.diagnostics.spread import Spread, negative_spread, proxy_spread
from metriscope.errors import InputError
from metriscope.objectives.comparison import KEPT_PAIRS, Comparison
from metriscope.objectives.objective import Step
from metriscope.objectives.samples import Moment, Spaces
from metriscope.parts import ArgumentError
from metriscope.training.learner import MetricLearner


def loss_measures(step: Step) -> Measures:
    """Measures that the loss itself reports: its value, the active ratio of its terms, and its parts."""
    output = step.output
    parts = {name: (part, 1.0) for name, part in output.parts.items()}
    active = {} if output.active is None else {"active_ratio": (output.active, output.terms)}
    return {"loss": (output.value.detach(), 1.0), **active, **parts}


def judged_matrices(step: Step) -> list[Tensor]:
    """The matrices whose gradients give the pair weights: distances (B, R), or similarities to proxies (B, C)."""
    if step.output.similarities is not None:
        return [step.output.similarities]
    return [comparison.distances for comparison in _compared(step)]


def _compared(step: Step) -> list[Comparison]:
    """The comparisons by which a batch was judged, each once where several objectives share it."""
    every = {id(one.distances): one for account in step.accounts for one in account.comparison.made}
    return list(every.values())


def pairs_in(step: Step) -> int:
    """The most pairs that a comparison of the step has, or 0 where samples are compared with proxies alone."""
    if step.output.similarities is not None:
        return 0
    return max(math.prod(account.comparison.shape) for account in step.accounts)


def pull_measures(
    step: Step,
    gradients: Sequence[Tensor | None],
    embedding_gradient: Tensor,
    hinge: bool,
    threshold: float | None,
    scale: float = 1.0,
    spread: bool = False,
) -> Measures:
    """Measures from the backward pass: the active ratio of pairs by weight, and gradient norms of embeddings.

    The weights of objectives that share a comparison are added. Where they compare in several ways, the active ratio of
    pairs is that of each, ``active_ratio_pairs_<k>``, and so is the spread of negatives.

    Args:
        step: the evaluated batch.
        gradients: of :func:`judged_matrices`; None where the loss does not use a matrix.
        embedding_gradient: (B, D), dL/dz, times the scale.
        hinge: whether inactive terms of the loss have a weight of exactly zero.
        threshold: see :func:`metriscope.diagnostics.activity.pair_activity`; None to leave pairs out.
        scale: what all gradients were divided by.
        spread: whether the spread of negatives is measured, where pairs are.
    """
    counted, spreads = ({}, {}) if threshold is None else _counted(step, gradients, hinge, threshold, scale, spread)
    measures: dict[str, tuple[Tensor, Tensor | float]] = {
        f"active_ratio_pairs{place}": (activity.active, activity.valid) for place, activity in counted.items()
    }
    measures |= {f"negative_spread{place}": (one.total, one.anchors) for place, one in spreads.items()}
    active = torch.stack([activity.samples for activity in counted.values()]).any(0) if counted else None
    return {**measures, **embedding_norms(embedding_gradient if scale == 1 else embedding_gradient * scale, active)}


def _counted(
    step: Step, gradients: Sequence[Tensor | None], hinge: bool, threshold: float, scale: float, spread: bool
) -> tuple[dict[str, PairActivity], dict[str, Spread]]:
    """The activity of pairs and, where it is asked for, their spread, by what the names of measures end in.

    Arguments are as of :func:`pull_measures`.
    """
    if step.output.similarities is not None:
        (gradient,) = gradients
        if gradient is None:
            return {}, {}
        num_classes = getattr(step.accounts[0].loss, "num_classes", gradient.shape[1])
        spreads = {"": proxy_spread(gradient, step.comparison.anchors.labels, num_classes)} if spread else {}
        return {"": proxy_activity(gradient, hinge, threshold)}, spreads
    pulls = _pulls(step, gradients, scale)
    named = {"" if len(pulls) == 1 else f"_{place}": found for place, found in pulls.items()}
    activities = {place: pair_activity(whole, every, hinge, threshold) for place, (whole, every) in named.items()}
    return activities, {place: negative_spread(*found) for place, found in named.items()} if spread else {}


def _pulls(step: Step, gradients: Sequence[Tensor | None], scale: float) -> dict[int, tuple[Comparison, list[Pulls]]]:
    """What pulls in each way of comparing, by the place of the first objective that compares so."""
    origins = [account.comparison.origin for account in step.accounts]
    found: dict[int, tuple[Comparison, list[Pulls]]] = {}

    def add(comparison: Comparison, pulls: Pulls) -> None:
        whole = comparison.part.whole if comparison.part else comparison
        found.setdefault(origins.index(comparison.origin), (whole, []))[1].append(pulls)

    for comparison, gradient in zip(_compared(step), gradients, strict=True):
        if gradient is not None:
            add(comparison, pulls_of_matrix(comparison, gradient * scale))
    for account in step.accounts:
        output = account.output
        if output.compiled:
            with torch.no_grad():
                output = account.loss(account.comparison, account.selection)
        if output.slopes is not None:
            add(account.comparison, pulls_of_slopes(account.comparison, output.slopes, account.weight))
    return dict(sorted(found.items()))


class GreedinessMonitor(pl.Callback):
    """Logs ``train/<name>`` per epoch, ``train/<name>_step`` for single steps, and ``val/<name>``.

    Embedding gradients are read from the backward pass of the training step, and pair weights come from the loss: in
    every step for batches of at most 4 million pairs, in logged steps for larger ones. On the validation set the
    loss is evaluated over fixed class-balanced batches of the embeddings.

    Args:
        pair_weight_threshold: share of the largest pair weight in a batch above which a pair counts as active; None to
            log the loss alone.
        log_every_n_steps: how often single steps are logged.
        negative_spread: whether to log the effective share of negatives that push, of the same steps as pair weights:
            see :func:`metriscope.diagnostics.spread.spread_of`. One more pass over the pairs.
        batch_hardness: whether to log how similar the classes of batches are:
            see :class:`metriscope.diagnostics.hardness.BatchHardness`. O(C D) of memory.
        prototype_usage: whether to log how samples divide among the vectors of their class, of an epoch:
            see :class:`metriscope.diagnostics.prototypes.PrototypeUsage`. Needs a loss with several for each class.
    """

    def __init__(
        self,
        pair_weight_threshold: Annotated[float, Field(ge=0, le=1)] | None = 1e-3,
        log_every_n_steps: Annotated[int, Field(ge=1)] = 50,
        negative_spread: bool | None = None,
        batch_hardness: bool | None = None,
        prototype_usage: bool | None = None,
    ) -> None:
        self.threshold = pair_weight_threshold
        self.log_every_n_steps = log_every_n_steps
        self.negative_spread = bool(negative_spread)
        self.hardness = BatchHardness() if batch_hardness else None
        self.usage = PrototypeUsage() if prototype_usage else None
        self.averages = Averages()
        self.pending: dict[str, tuple[Tensor, Tensor | float]] = {}
        self.previous: dict[str, float] = {}
        self.updated = False

    @classmethod
    def check(cls, arguments: Mapping[str, Any]) -> None:
        if arguments["negative_spread"] and arguments["pair_weight_threshold"] is None:
            rule = "it is made of pair weights, so it needs a pair_weight_threshold"
            raise ArgumentError("negative_spread", True, rule)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, MetricLearner)
        if self.usage is not None and all(vectors_per_class(part) == 1 for part in pl_module.objective.modules()):
            raise InputError(
                "diagnostics.greediness.prototype_usage=true needs a loss with several vectors for each class: choose "
                "loss=palm, loss=soft_triple or loss=sub_center_arcface, or leave it null"
            )

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Lightning does not call this for an epoch that is resumed half-way: its sums come from the checkpoint.
        self.averages = Averages()
        if self.usage is not None:
            self.usage.reset()

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor) -> None:
        assert isinstance(pl_module, MetricLearner)
        assert pl_module.step is not None
        self.pending.update(loss_measures(pl_module.step))
        if self.hardness is not None:
            anchors = pl_module.step.comparison.anchors
            self.pending.update(self.hardness.observe(anchors.embeddings, anchors.labels))
        if self.usage is not None:
            self.usage.observe(pl_module.step)
        if self.threshold is not None:
            for matrix in judged_matrices(pl_module.step):
                matrix.retain_grad()
            pl_module.step.comparison.anchors.embeddings.retain_grad()

    @torch.no_grad()
    def on_after_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.threshold is None:
            return
        assert isinstance(pl_module, MetricLearner)
        assert pl_module.step is not None
        gradients = [matrix.grad for matrix in judged_matrices(pl_module.step)]
        embedding_gradient = pl_module.step.comparison.anchors.embeddings.grad
        if embedding_gradient is None:
            return
        logged = (trainer.global_step + 1) % self.log_every_n_steps == 0
        threshold = self.threshold if logged or pairs_in(pl_module.step) <= KEPT_PAIRS else None
        hinge, scale = pl_module.objective.hinge, trainer.accumulate_grad_batches / _loss_scale(trainer)
        measures = pull_measures(
            pl_module.step, gradients, embedding_gradient, hinge, threshold, scale, self.negative_spread
        )
        self.pending.update(measures)

    @torch.no_grad()
    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        self.updated = True
        if self.threshold is not None:
            assert isinstance(pl_module, MetricLearner)
            self.pending.update(parameter_norms(pl_module.parameter_groups(), pl_module.device))

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        measures, self.pending = self.pending, {}
        self.averages.add(measures)
        # Batches that only accumulate gradients are not logged as steps.
        updated, self.updated = self.updated, False
        if updated and trainer.global_step % self.log_every_n_steps == 0:
            values = {name: ratio(*measure) for name, measure in measures.items()}
            for name in {"loss", "active_ratio"} & values.keys():
                pl_module.log(name, values[name], prog_bar=True, logger=False)
            row = {f"train/{name}_step": value for name, value in values.items()}
            for logger in trainer.loggers:
                # Lightning counts logged steps from 0; the optimizer has just taken step number global_step.
                logger.log_metrics({"epoch": trainer.current_epoch, **row}, step=trainer.global_step - 1)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        usage = {} if self.usage is None else self.usage.measures()
        self._report("train", {**self.averages.compute(distributed=True), **usage}, pl_module)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, MetricLearner)
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        objective, averages = pl_module.objective, Averages()
        foreign = data.protocol == "class_disjoint" and objective.bound_to_classes
        # Only the embeddings of an evaluated set are kept.
        elsewhere = objective.spaces != {"embedding"}
        if pl_module.evaluated is None or data.splits.validation is None or foreign or elsewhere:
            return
        each = 2 if pl_module.embedder.trunk.paired else 1
        if len(pl_module.evaluated.labels) != each * len(data.splits.validation):
            # With limit_val_batches only a part of the set is embedded, and fixed batches are incomplete.
            return
        # Whole and in the order of the split.
        embeddings, labels = pl_module.evaluated.embeddings, data.splits.labels_to_validate_on.repeat(each)
        judged = False
        for number, chosen in enumerate(data.validation_batches()):
            # The second row of pair p of N stands at N + p.
            rows = chosen if each == 1 else torch.stack([chosen, chosen + len(labels) // 2], 1).flatten()
            z = embeddings[rows].to(pl_module.device).requires_grad_()
            with torch.enable_grad():
                generator = seeds.generator(pl_module.seed, "validation miner", number)
                batch = Spaces.of(z, labels[rows].to(pl_module.device), side=pl_module.embedder.sides(z))
                step = objective(batch, Moment(trainer.current_epoch, generator=generator))
                judged = judged or float(step.output.terms) > 0
                averages.add(loss_measures(step))
                if self.threshold is not None:
                    wanted = (z, *judged_matrices(step))
                    by_z, *by_pair = torch.autograd.grad(step.output.value, wanted, allow_unused=True)
                    spread = self.negative_spread
                    averages.add(pull_measures(step, by_pair, by_z, objective.hinge, self.threshold, spread=spread))
        if judged:  # else these would be means over nothing
            self._report("val", averages.compute(distributed=False), pl_module)

    def _report(self, stage: str, values: dict[str, float], pl_module: pl.LightningModule) -> None:
        loss = values.get("loss_mean", values.get("loss"))
        if loss is not None:
            if stage in self.previous:
                values["loss_decay_rate"] = decay_rate(self.previous[stage], loss)
            self.previous[stage] = loss
        pl_module.log_dict({f"{stage}/{name}": value for name, value in values.items()})

    def state_dict(self) -> dict[str, Any]:
        hardness = {} if self.hardness is None else {"hardness": self.hardness.state_dict()}
        usage = {} if self.usage is None else {"usage": self.usage.state_dict()}
        return {"averages": self.averages.state_dict(), "previous": dict(self.previous), **hardness, **usage}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.averages.load_state_dict(state_dict["averages"])
        self.previous = dict(state_dict["previous"])
        if self.hardness is not None and "hardness" in state_dict:
            self.hardness.load_state_dict(state_dict["hardness"])
        if self.usage is not None and "usage" in state_dict:
            self.usage.load_state_dict(state_dict["usage"])


def _loss_scale(trainer: pl.Trainer) -> float:
    """The factor that float16 training multiplies the loss with; gradients of embeddings carry it too."""
    scaler = getattr(trainer.precision_plugin, "scaler", None)
    return float(scaler.get_scale()) if scaler is not None else 1.0
