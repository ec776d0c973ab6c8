"""The base class of losses, modules from a comparison and a selection to a :class:`LossOutput`, and reductions."""

from typing import ClassVar, get_args

import torch
from torch import Tensor, nn

from metriscope.objectives.arguments import Reduction
from metriscope.objectives.comparison import Comparison, Segment
from metriscope.objectives.distances.cosine import Cosine
from metriscope.objectives.output import Account, LossOutput
from metriscope.objectives.samples import Moment, Samples
from metriscope.objectives.selection import Selection, TripletBand
from metriscope.parts import PartType

REDUCTIONS = get_args(Reduction)


class Loss(nn.Module, metaclass=PartType):
    """Base class. Subclasses name the selections they take and whether their terms can be exactly zero.

    A constructor that takes ``num_classes``, ``embedding_size`` or ``num_samples`` (of the training set) gets them.

    Attributes:
        accepts: kinds of selection: "all" (every valid term), "band", "pairs", "triplets", or "none" for a
            loss that needs no miner.
        weighable: the weights that the loss takes: ``pairs``, ``rows``, or none.
        hinge: True where inactive terms have exactly zero weight.
        paper: where the loss comes from.
        bound_to_classes: whether the loss learns something for each training class, so that its value on other
            classes has no meaning.
    """

    accepts: ClassVar[frozenset[str]]
    weighable: ClassVar[frozenset[str]] = frozenset()
    hinge: ClassVar[bool]
    paper: ClassVar[str] = ""
    bound_to_classes: bool = False

    # The constructor of nn.Module takes anything.
    def __init__(self) -> None:
        super().__init__()

    def forward(self, comparison: Comparison, selection: Selection) -> LossOutput:
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
        comparison = Comparison(batch, [Segment(batch)], Cosine())
        try:
            self(comparison, TripletBand())
        except Exception:
            return True
        return comparison.asked


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
