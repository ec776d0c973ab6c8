"""A loss and its account: what every loss returns."""

from typing import NamedTuple

from torch import Tensor


class LossOutput(NamedTuple):
    """A loss and its account.

    Attributes:
        value: scalar, attached to the graph.
        active: scalar int64, the terms with a non-zero loss; None where a loss cannot tell.
        terms: scalar int64, the valid terms. For a band these are all triplets that the labels allow, those
            outside the band counting as zeros; a list or a pair mask brings its own terms.
        parts: named detached scalars, logged as they are.
        similarities: (B, C) similarities to the loss's own parameters, attached to the graph, for a loss that
            is not pairwise: its gradient tells which of its pairs (sample, proxy) weigh how much.
    """

    value: Tensor
    active: Tensor | None
    terms: Tensor
    parts: dict[str, Tensor]
    similarities: Tensor | None = None
