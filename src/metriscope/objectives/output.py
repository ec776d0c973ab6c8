"""What a loss says of a batch: its value, and counts of its terms; and the account of a step."""

from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

if TYPE_CHECKING:
    from metriscope.objectives.comparison import Comparison
    from metriscope.objectives.selection import Selection


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
    """

    value: Tensor
    active: Tensor | None
    terms: Tensor
    parts: dict[str, Tensor]
    similarities: Tensor | None = None
    rows: Tensor | None = None


class Account(NamedTuple):
    """What an objective came to in a step: what parts with a state learn from."""

    comparison: "Comparison"
    selection: "Selection"
    output: LossOutput
