"""What a loss says of a batch: its value, and counts of its terms; and the account of a step."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor, nn

if TYPE_CHECKING:
    from metriscope.objectives.comparison import Comparison
    from metriscope.objectives.selection import Selection


class PairSlopes(NamedTuple):
    """How a loss depends on the pairs of some anchors.

    Attributes:
        slopes: (r, R), the derivative of the loss by each similarity, or by each distance.
        distances: (r, R) where the derivative is one by distances.
    """

    slopes: Tensor
    distances: Tensor | None


class LossOutput(NamedTuple):
    """The value of a loss, and counts of its terms.

    Attributes:
        value: scalar, attached to the graph.
        active: scalar int64, the terms with a non-zero loss; None where it is unknown.
        terms: scalar int64, the number of valid terms. For a band these are all triplets that the labels allow, and
            those outside the band count as zeros; a list or a pair mask allows only its own terms.
        parts: named detached scalars, logged as they are.
        similarities: (B, C) similarities to the loss's own parameters, attached to the graph, for a loss that
            compares no samples: its gradient gives the weights of the pairs (sample, proxy).
        rows: (B,) detached losses of the anchors before any weight, for a loss that is a mean of them; 0 for anchors
            that do not count.
        slopes: anchors -> their :class:`PairSlopes`, computed anew, for a loss that keeps no matrix.
        compiled: whether the loss has to be asked once more for its slopes, since a traced graph returns tensors alone.
        pending: (B, k) detached numbers of the anchors, from which the loss's own ``observe`` makes its state.
        counts: (B,) int64, how many terms of the mean each anchor gives; 0 for anchors that do not count.
    """

    value: Tensor
    active: Tensor | None
    terms: Tensor
    parts: dict[str, Tensor]
    similarities: Tensor | None = None
    rows: Tensor | None = None
    slopes: Callable[[slice], PairSlopes] | None = None
    compiled: bool = False
    pending: Tensor | None = None
    counts: Tensor | None = None

    @property
    def costs(self) -> Tensor | None:
        """(B,) detached, the mean over each anchor's own terms, as a weighting gets it; 0 for those without any."""
        if self.rows is None or self.counts is None:
            return self.rows
        return self.rows / self.counts.clamp_min(1)


class Account(NamedTuple):
    """What an objective came to in a step, and its weight in a sum: what parts with a state learn from."""

    comparison: "Comparison"
    selection: "Selection"
    output: LossOutput
    loss: nn.Module
    weight: float = 1.0

    @property
    def compares(self) -> bool:
        """Whether the loss compared samples with each other, and not only with parameters of its own."""
        return bool(self.comparison.made) or self.output.slopes is not None or self.output.compiled
