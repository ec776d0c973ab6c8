"""SupReMix on class labels: mixtures of the anchor and its negatives are further negatives."""

from typing import Annotated

import torch
from pydantic import Field

from metriscope.objectives.comparison import Comparison
from metriscope.objectives.mixed import Mixtures
from metriscope.objectives.mixtures.base import Mixture, uniform
from metriscope.objectives.mixtures.beta import BetaDraw
from metriscope.objectives.selection import Pairs

_Shape = Annotated[float, Field(ge=0.01)]


class AnchorNegativeMixture(Mixture):
    """Negatives norm(l a + (1 - l) n), one for each negative n of an anchor a, l ~ Beta(alpha, beta).

    Their labels would lie between those of anchor and negative. The loss takes them as negatives beside the others.

    Wu et al., SupReMix, arXiv:2309.16633 (as read in the authors' code, which is for labels that are numbers; with
    ``loss=supcon``): the part of it that class labels have. There mixtures are not normalised again, each negative has
    a weight that grows with the distance of the labels, and mixtures on both sides of an anchor are positives; none of
    this is here. It is the second kind of MoCHi's mixtures, of all negatives and with other shares.

    O(B R) time and memory.

    Args:
        alpha, beta: of the Beta distribution of the anchor's share, above 0; 2 and 8 in the authors' code.
        frozen: whether mixtures are constants, so that gradients reach the anchor alone, as there.
        spherical: whether embeddings are L2-normalised; mixtures then are too.
    """

    paper = "arXiv:2309.16633"

    def __init__(self, alpha: _Shape = 2.0, beta: _Shape = 8.0, frozen: bool = True, spherical: bool = True) -> None:
        super().__init__()
        self.draw = BetaDraw(alpha, beta)
        self.frozen, self.spherical = frozen, spherical

    def mix(self, comparison: Comparison, pairs: Pairs) -> Mixtures:
        negative = pairs.negative
        second = torch.arange(negative.shape[1], device=negative.device).expand(negative.shape)
        mixtures = Mixtures(
            torch.full_like(second, -1),
            second,
            self.draw(uniform(tuple(negative.shape), comparison)),
            negative,
            negative_weights=negative,
            frozen=self.frozen,
            spherical=self.spherical,
        )
        return mixtures.with_direction(comparison)
