"""The base class of weightings: factors of pairs before the loss, and of an anchor's loss after it."""

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from metriscope.objectives.comparison import Comparison
from metriscope.objectives.output import Account
from metriscope.objectives.samples import Moment
from metriscope.objectives.selection import Pairs
from metriscope.parts import PartType

Kind = Literal["pairs", "rows"]


class Weighting(nn.Module, metaclass=PartType):
    """Base class. A weighting of 1 everywhere changes no bit.

    A constructor that takes ``embedding_size``, ``num_classes`` or ``num_samples`` gets them.

    Attributes:
        weighs: ``pairs``, ``rows`` (the losses of anchors), or both; a loss says which it takes.
        paper: where the weighting comes from.
        affinity: the space, ``trunk``, that :attr:`Comparison.affinity` comes from; None where nobody asks.
        bound_to_classes: whether weights on other classes than those of the training have no meaning.
    """

    weighs: ClassVar[frozenset[Kind]]
    paper: ClassVar[str] = ""
    affinity: str | None = None
    bound_to_classes: bool = False

    # The constructor of nn.Module takes anything.
    def __init__(self) -> None:
        super().__init__()

    def weigh_pairs(self, comparison: Comparison, pairs: Pairs) -> Pairs:
        """The same pairs with weights of at least 0, (B, R) detached.

        A negative's weight multiplies its exponential, a positive's weight its term.
        """
        return pairs

    def weigh_rows(self, losses: Tensor, index: Tensor, moment: Moment) -> Tensor:
        """Factors (r, 1) of at least 0, detached, of the losses of some anchors.

        A batch comes in several calls, so the factor of an anchor must not depend on the other anchors.

        Args:
            losses: (r, 1), detached; of a loss that sums over an anchor's positives, the mean over these.
            index: (r,), the anchors' positions in the training set; -1 for none.
            moment: when.
        """
        return torch.ones_like(losses)

    def parts(self, account: Account, moment: Moment) -> dict[str, Tensor]:
        """Named detached scalars of a step of the training, logged as the loss's own are."""
        return {}

    @torch.no_grad()
    def observe(self, account: Account, moment: Moment) -> None:
        """Learn from a step: called in training, once, after the loss."""
