"""The base class of losses, modules from a comparison and a selection to a :class:`LossOutput`, and reductions."""

from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar, get_args

import torch
from torch import Tensor, nn

from metriscope.config.files import default, section
from metriscope.errors import InputError
from metriscope.objectives.arguments import Reduction
from metriscope.objectives.comparison import Comparison, Segment
from metriscope.objectives.distances.base import Distance
from metriscope.objectives.miners.base import Miner
from metriscope.objectives.output import Account, LossOutput
from metriscope.objectives.samples import Moment, Samples
from metriscope.objectives.selection import Selection, TripletBand
from metriscope.parts import PartType, locate

REDUCTIONS = get_args(Reduction)


class Loss(nn.Module, metaclass=PartType):
    """Base class. Subclasses name the selections they take and whether their terms can be exactly zero.

    A constructor that takes ``num_classes``, ``embedding_size`` or ``num_samples`` (of the training set) gets them.

    Attributes:
        accepts: kinds of selection: "all" (every valid term), "band", "pairs", "triplets", or "none" for a
            loss that needs no miner.
        weighable: the weights that the loss takes: ``pairs``, ``rows``, or none.
        mixes: whether the loss takes mixtures as further pairs, with weights: see
            :class:`metriscope.objectives.mixed.Mixtures`.
        hinge: True where inactive terms have exactly zero weight.
        paper: where the loss comes from.
        affinity: the space, ``trunk``, that :attr:`Comparison.affinity` comes from; None where nobody asks.
        bound_to_classes: whether the loss learns something for each training class, so that its value on other
            classes has no meaning.
        not_across: by ``other`` and ``same``, why it cannot do without the pairs that ``pairs_across`` leaves out.
    """

    accepts: ClassVar[frozenset[str]]
    weighable: ClassVar[frozenset[str]] = frozenset()
    hinge: ClassVar[bool]
    paper: ClassVar[str] = ""
    mixes: bool = False
    affinity: str | None = None
    bound_to_classes: bool = False
    not_across: Mapping[str, str] = {}

    # The constructor of nn.Module takes anything.
    def __init__(self) -> None:
        super().__init__()

    def __call__(
        self,
        first: Comparison | Tensor,
        second: Selection | Tensor,
        *,
        miner: Miner | None = None,
        references: Samples | None = None,
        distance: Distance | None = None,
        index: Tensor | None = None,
        moment: Moment | None = None,
        memory_mb: float | None = None,
    ) -> Any:
        """The loss by itself, of embeddings and labels; within an objective, of a comparison and a selection.

        Embeddings are compared as they are: normalise them, or choose the distance ``Cosine()``, where a paper does.

        Args:
            first: embeddings (B, D).
            second: labels (B,) int64; -1 for a sample that takes no part.
            miner: selects the terms that count; None for all of them.
            references: samples beside the batch that anchors are compared with, such as a memory's.
            distance: how two samples are compared; None for that of a run by default, the Euclidean distance.
            index: (B,) positions in the training set, for a loss with a state of single samples.
            moment: when, for parts that follow a schedule or draw.
            memory_mb: bound on the matrices of pairs that are held at once, in MiB; None for what suits the device.

        Returns:
            the value, a scalar attached to the graph; of a comparison, a :class:`LossOutput`.

        Raises:
            InputError: shapes that do not fit, a miner whose selection the loss does not take, or a bound that does not
                hold one anchor.

        >>> from metriscope.losses import TripletLoss
        >>> from metriscope.miners import BatchHardMiner
        >>> z = torch.nn.functional.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.2], [0.0, 1.0], [0.2, 1.0]]))
        >>> labels = torch.tensor([0, 0, 1, 1])
        >>> round(TripletLoss(margin=1.1)(z, labels, miner=BatchHardMiner()).item(), 4)
        0.1084
        """
        if isinstance(first, Comparison):
            return super().__call__(first, second)
        return self.account(
            first,
            second,
            miner=miner,
            references=references,
            distance=distance,
            index=index,
            moment=moment,
            memory_mb=memory_mb,
        ).value

    def account(
        self,
        embeddings: Tensor,
        labels: Any,
        *,
        miner: Miner | None = None,
        references: Samples | None = None,
        distance: Distance | None = None,
        index: Tensor | None = None,
        moment: Moment | None = None,
        memory_mb: float | None = None,
    ) -> LossOutput:
        """What the loss says of embeddings and labels; arguments and errors as of a call."""
        for name, part, kind in (("miner", miner, Miner), ("distance", distance, Distance)):
            if not isinstance(part, kind | None):
                raise InputError(f"{name}={part}: give an object of a subclass of {kind.__name__}, or None")
        if not isinstance(labels, Tensor):
            raise InputError(f"labels of the batch are a {type(labels).__name__}: give a tensor")
        batch = Samples.of(embeddings, labels, index)
        batch.check("the batch")
        segments = [Segment(batch)]
        if references is not None:
            if not isinstance(references, Samples):
                raise InputError(f"references are a {type(references).__name__}: give Samples.of(embeddings, labels)")
            references.check("references", batch)
            segments.append(Segment(references))
        if miner is not None and miner.kind not in self.accepts:
            name, kinds = type(self).__name__, ", ".join(sorted(self.accepts))
            raise InputError(f"{name} cannot take {type(miner).__name__} (it selects {miner.kind}); it takes {kinds}")
        measure = _default_distance() if distance is None else distance
        comparison = Comparison(batch, segments, measure, moment, memory_mb=memory_mb)
        output: LossOutput = self(comparison, TripletBand() if miner is None else miner(comparison))
        return output

    def forward(self, comparison: Comparison, selection: Selection) -> LossOutput:
        """The loss of a comparison, over the terms of a selection."""
        raise NotImplementedError

    @torch.no_grad()
    def observe(self, account: Account, moment: Moment) -> None:
        """Learn from a step: called in training, once, after the loss."""

    @torch.no_grad()
    def compares(self, embedding_size: int) -> bool:
        """Whether the loss compares samples with references, such as those of a memory; found out on a batch of four.

        True where it fails on that batch, from which nothing follows.

        Args:
            embedding_size: D.
        """
        batch = Samples.of(torch.eye(4, embedding_size), torch.tensor([0, 1, 0, 1]))
        comparison = Comparison(batch, [Segment(batch)], _default_distance())
        try:
            self(comparison, TripletBand())
        except Exception:
            return True
        return comparison.asked


@cache
def _default_distance() -> Distance:
    """That of a run whose command line names none."""
    distance: Distance = locate(str(section("distance", default("distance"))._target_))()
    return distance


def mean_part(total: Tensor, terms: Tensor, reduction: str) -> dict[str, Tensor]:
    """``loss_mean``, the mean over all valid terms, where the loss itself is reduced in another way.

    A mean over non-zero terms stays flat while training progresses, and a sum grows with the batch, so loss decay is
    measured on this part.
    """
    return {} if reduction == "mean" else {"loss_mean": reduce(total.detach(), terms, terms, "mean")}


def reduce(total: Tensor, active: Tensor, terms: Tensor, reduction: str) -> Tensor:
    """``mean`` over all valid terms, ``sum``, or ``mean_active`` over the non-zero terms; 0 where there are none."""
    if reduction == "sum":
        return total
    count = terms if reduction == "mean" else active
    return total / count.clamp_min(1).to(total.dtype)
