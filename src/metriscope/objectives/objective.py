"""The objective of a run: distance, miner, weighting, mixture and loss over one comparison with references."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from metriscope.config.across import Across, check_across, left_out
from metriscope.errors import InputError
from metriscope.objectives.comparison import Comparison, Segment
from metriscope.objectives.distances.base import Distance
from metriscope.objectives.distributed import Ranks, gather, is_distributed, ranks_of
from metriscope.objectives.losses.base import Loss
from metriscope.objectives.miners.base import Miner
from metriscope.objectives.mixed import Mixtures
from metriscope.objectives.mixtures.base import Mixture
from metriscope.objectives.output import Account, LossOutput
from metriscope.objectives.references.base import References
from metriscope.objectives.samples import Moment, Samples, Spaces
from metriscope.objectives.selection import Pairs, Selection, as_pairs
from metriscope.objectives.weightings.base import Weighting


class Step(NamedTuple):
    """One evaluated batch.

    Attributes:
        output: of the loss, or the sum of several.
        accounts: one for each objective.
    """

    output: LossOutput
    accounts: tuple[Account, ...]

    @property
    def comparison(self) -> Comparison:
        """The comparison of the first objective."""
        return self.accounts[0].comparison


class Objective(nn.Module):
    """Compares a batch with its references, selects and weighs terms, and computes the loss.

    References are the batch itself, in training also the batches of other processes, the content of a memory, and
    synthetic samples.

    >>> from metriscope.distances import Euclidean
    >>> from metriscope.losses import TripletLoss
    >>> from metriscope.miners import BatchHardMiner
    >>> objective = Objective(Euclidean(), BatchHardMiner(), TripletLoss(margin=1.1))
    >>> z = torch.nn.functional.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.2], [0.0, 1.0], [0.2, 1.0]]))
    >>> step = objective(Spaces.of(z, torch.tensor([0, 0, 1, 1])))
    >>> round(step.output.value.item(), 4), int(step.output.active), int(step.output.terms)
    (0.1084, 4, 4)

    Args:
        distance, miner, loss: the parts; :mod:`metriscope.config.objective` checks that they fit each other.
        references: references beside the batch, in this order.
        weighting: factors of pairs or anchors; None for none.
        space: the output of the network that is compared, ``embedding`` or ``trunk``.
        memory_mb: see :class:`Comparison`.
        mixture: mixes samples, in training; None for none.
        pairs_across: which references an anchor is compared with where samples have sides, 0 and 1 for two modalities:
            those of the ``other`` side alone, or of the ``same`` side alone; ``all`` or None for both. Positives and
            negatives are then pairs between the modalities, or within one; a sample's partner is a positive of the
            other side. Class vectors of a loss are shared by the sides.

    Raises:
        InputError: the loss cannot use the weights or the mixtures, or a part needs the pairs that are left out.
    """

    def __init__(
        self,
        distance: Distance,
        miner: Miner,
        loss: Loss,
        references: Sequence[References] = (),
        weighting: Weighting | None = None,
        space: str = "embedding",
        memory_mb: float | None = None,
        mixture: Mixture | None = None,
        pairs_across: Across | None = None,
    ) -> None:
        super().__init__()
        parts = (loss, miner, *references, weighting, mixture)
        check_across(pairs_across, ((type(part).__name__, part) for part in parts))
        if mixture is not None and not loss.mixes:
            raise InputError(f"{type(loss).__name__} cannot take mixtures: {type(mixture).__name__} needs one that can")
        unused = weighting.weighs - loss.weighable if weighting is not None else frozenset()
        if unused:
            raise InputError(f"{type(loss).__name__} cannot use weights of {' and '.join(sorted(unused))}")
        self.distance = distance
        self.miner = miner
        self.loss = loss
        self.references = nn.ModuleList(references)
        self.weighting = weighting
        self.mixture = mixture
        self.space = space
        self.memory_mb = memory_mb
        self.pairs_across = left_out(pairs_across)

    @property
    def affinity(self) -> str | None:
        """The space that the affinity of pairs comes from, which the weighting or the loss names."""
        return self.loss.affinity if self.weighting is None else self.weighting.affinity or self.loss.affinity

    @property
    def spaces(self) -> set[str]:
        """The outputs of the network that are compared."""
        return {self.space, self.affinity or self.space}

    @property
    def hinge(self) -> bool:
        """Whether terms without loss have no weight at all."""
        return self.loss.hinge

    @property
    def bound_to_classes(self) -> bool:
        """Whether values on other classes than those of the training have no meaning."""
        return self.loss.bound_to_classes or (self.weighting is not None and self.weighting.bound_to_classes)

    def compare(self, batch: Samples, moment: Moment | None = None, ranks: Ranks | None = None) -> Comparison:
        """The comparison of a batch with itself and, in training, with further references.

        Args:
            batch: the same on all processes.
            moment: when.
            ranks: the processes that share its anchors; None where this one judges them all.
        """
        moment = moment or Moment()
        segments = [Segment(batch)]
        if self.training:
            for references in self._references():
                segment = references.recall(batch, moment)
                if segment is not None:
                    _check_segment(segment, f"{type(references).__name__}.recall", batch)
                    segments.append(segment)
        return Comparison(
            batch, segments, self.distance, moment, memory_mb=self.memory_mb, ranks=ranks, across=self.pairs_across
        )

    def select(self, comparison: Comparison) -> Selection:
        """What the miner selects."""
        selection: Selection = self.miner(comparison)
        return selection

    def judge(self, comparison: Comparison, selection: Selection) -> Account:
        """The loss of a comparison."""
        if self.weighting is not None:
            if "rows" in self.weighting.weighs:
                comparison = comparison.weighed(partial(_factors, self.weighting, moment=comparison.moment))
            # Of no anchors nothing can be weighed, and reductions need something.
            if "pairs" in self.weighting.weighs and len(comparison.anchors.labels):
                with torch.no_grad():
                    selection = _weighed(self.weighting, comparison, as_pairs(selection, comparison))
        further: Mixtures | None = None
        if self.mixture is not None and self.training and len(comparison.anchors.labels):
            selection, further = self._mixed(self.mixture, comparison, selection)
        account = Account(comparison, selection, self.loss(comparison, selection), self.loss)
        if further is not None:
            account = account._replace(output=self._with_mixed(account.output, comparison, further))
        if self.weighting is None or not self.training:
            return account
        with torch.no_grad():
            told = self.weighting.parts(account, comparison.moment)
        output = account.output
        return account._replace(output=output._replace(parts={**output.parts, **told})) if told else account

    def _mixed(
        self, mixture: Mixture, comparison: Comparison, selection: Selection
    ) -> tuple[Selection, Mixtures | None]:
        """The selection with its mixtures, and those that are judged by themselves."""
        # Whoever asks first for the references decides whether they have a graph.
        _ = comparison.references
        with torch.no_grad():
            pairs = as_pairs(selection, comparison)
            mixtures = mixture.mix(comparison, pairs)
        if mixtures is None or mixture.apart:
            return selection, mixtures
        return replace(pairs, mixtures=mixtures), None

    def _with_mixed(self, output: LossOutput, comparison: Comparison, mixtures: Mixtures) -> LossOutput:
        """The loss with that of mixtures alone, weighed; all else is said of samples."""
        assert self.mixture is not None
        mixed = self.loss(comparison, mixtures).value
        parts = {**output.parts, "loss_mixed": mixed.detach()}
        return output._replace(value=output.value + self.mixture.weight * mixed, parts=parts)

    def learners(self) -> list[Loss | Miner | Weighting | References]:
        """The parts that learn from a step of the training, by their ``observe``."""
        weighting = [] if self.weighting is None else [self.weighting]
        return [self.loss, self.miner, *weighting, *self._references()]

    def _references(self) -> list[References]:
        return [one for one in self.references if isinstance(one, References)]

    def forward(self, batch: Spaces, moment: Moment | None = None) -> Step:
        """A batch -> :class:`Step`; in training, over the batches of all processes."""
        ranks = None
        if self.training and is_distributed():
            batch, ranks = gather(batch, self.spaces), ranks_of(self)
        comparison = self.compare(batch.samples(self.space, self.affinity), moment, ranks)
        account = self.judge(comparison, self.select(comparison))
        if self.training:
            for part in self.learners():
                part.observe(account, comparison.moment)
        return Step(account.output, (account,))


def _check_segment(segment: Any, what: str, batch: Samples) -> None:
    if not isinstance(segment, Segment) or not isinstance(segment.samples, Samples):
        raise InputError(f"{what} gives a {type(segment).__name__}: it has to give a Segment of Samples, or None")
    segment.samples.check(f"the references of {what}", batch)


def _factors(weighting: Weighting, losses: Tensor, index: Tensor, *, moment: Moment) -> Tensor:
    """The factors of rows, once they are found to be such."""
    factors = weighting.weigh_rows(losses, index, moment)
    _check_weights(factors, losses.shape, f"{type(weighting).__name__}.weigh_rows")
    return factors


def _weighed(weighting: Weighting, comparison: Comparison, pairs: Pairs) -> Pairs:
    """The pairs with their weights, once they are found to be such."""
    weighed = weighting.weigh_pairs(comparison, pairs)
    what = f"{type(weighting).__name__}.weigh_pairs"
    if not isinstance(weighed, Pairs):
        raise InputError(f"{what} gives a {type(weighed).__name__}: it has to give Pairs")
    for weights in (weighed.positive_weights, weighed.negative_weights):
        if weights is not None:
            _check_weights(weights, pairs.positive.shape, what)
    return weighed


def _check_weights(weights: Any, shape: torch.Size, what: str) -> None:
    if not isinstance(weights, Tensor) or weights.shape != shape:
        found = tuple(weights.shape) if isinstance(weights, Tensor) else type(weights).__name__
        raise InputError(f"{what} gives {found}: it has to give weights {tuple(shape)}")
    # The host looks only where it need not wait.
    if weights.device.type == "cpu" and not torch.compiler.is_compiling() and bool((weights < 0).any()):
        raise InputError(f"{what} gives weights below 0: they have to be at least 0")
