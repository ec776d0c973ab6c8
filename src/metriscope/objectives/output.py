"""The result of a loss: its value, and counts of its terms."""

from typing import NamedTuple

from torch import Tensor


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
    """

    value: Tensor
    active: Tensor | None
    terms: Tensor
    parts: dict[str, Tensor]
    similarities: Tensor | None = None
