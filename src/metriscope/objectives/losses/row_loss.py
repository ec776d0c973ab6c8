"""The base class of losses that are a mean over anchors of a function of the anchor's row."""

from typing import Any, ClassVar

from torch import Tensor

from metriscope.objectives.comparison import Comparison
from metriscope.objectives.kernels.rows import mean_over_anchors
from metriscope.objectives.kernels.rules import Inputs, Rows, Rule
from metriscope.objectives.losses.base import Loss
from metriscope.objectives.output import LossOutput
from metriscope.objectives.selection import Selection, unbanded


class RowLoss(Loss):
    """Base class: a subclass says by a formula what an anchor's similarities to its references come to.

    The mean is over anchors that have a positive and a negative, unless the subclass says otherwise. No matrix is kept
    for the backward pass: the formula is differentiated for a few anchors at a time, by what the loss learns too.

    Attributes:
        of_distances: whether the formula is one of distances.
        per_pair: whether it is a sum over an anchor's positives, and the mean runs over positive pairs.
        complete: whether only anchors with a positive and a negative count; else those with either do.

    >>> import torch
    >>> from metriscope.losses import RowLoss
    >>> class Softest(RowLoss):
    ...     def formula(self, rows):
    ...         return (rows.values * rows.negative).sum(1, keepdim=True) / rows.negative.sum(1, keepdim=True)
    >>> z = torch.nn.functional.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.2], [0.0, 1.0], [0.2, 1.0]]))
    >>> round(Softest()(z, torch.tensor([0, 0, 1, 1])).item(), 4)
    0.1942
    """

    accepts = frozenset({"all", "pairs", "triplets"})
    weighable = frozenset({"pairs", "rows"})
    mixes = True
    hinge = False
    of_distances: ClassVar[bool] = False
    per_pair: ClassVar[bool] = False
    complete: ClassVar[bool] = True
    _has_own_formula: ClassVar[bool] = False

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        definers = [next(base for base in cls.__mro__ if name in vars(base)) for name in ("formula", "kernel")]
        cls._has_own_formula = definers[0] is not definers[1] and issubclass(*definers)

    def formula(self, rows: Rows) -> Tensor:
        """Losses (r, 1) of some anchors, differentiable; of anchors that do not count, anything finite."""
        raise NotImplementedError

    def kernel(self) -> Rule | None:
        """The same with slopes by hand, where that is faster; None for none."""
        return None

    def forward(self, comparison: Comparison, selection: Selection) -> LossOutput:
        rule, parameters = self.kernel(), tuple(p for p in self.parameters() if p.requires_grad)
        # Slopes by hand know nothing of what a subclass learns, nor of a formula of its own.
        if rule is None or parameters or self._has_own_formula:
            rule = Rule(self.formula, of_distances=self.of_distances, complete=self.complete, plain=True)
        inputs = Inputs(parameters=parameters)
        return mean_over_anchors(comparison, unbanded(selection), rule, per_pair=self.per_pair, inputs=inputs)
