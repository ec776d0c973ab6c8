"""Metrix: mixtures of a positive and a negative count as both, by their shares."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from metriscope.objectives.arguments import Count, NonNegative
from metriscope.objectives.chunks import most_positives
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.miners.base import draw
from metriscope.objectives.mixed import Mixtures
from metriscope.objectives.mixtures.base import Mixture, place, uniform
from metriscope.objectives.mixtures.beta import BetaDraw
from metriscope.objectives.selection import Pairs


class PositiveNegativeMixture(Mixture):
    """The loss of the samples, and ``weight`` times the same loss of norm(l p + (1 - l) n) for all p, n of an anchor.

    Each mixture is a positive with the weight l and a negative with the weight 1 - l, l ~ Beta(alpha, alpha). Gradients
    reach anchor, positive and negative. The loss keeps its own reduction, so that its mean over terms counts a mixture
    twice, once on each side; softmax losses average positives by their weights, sums of exponentials weigh each one.

    Venkataramanan et al., Metrix, ICLR 2022, arXiv:2106.04990, at the level of embeddings (the generic form and what
    gains as read in a summary with the paper's equations; the contrastive loss as in the authors' code, which its value
    equals with ``loss.squared=false loss.reduction=mean_active``). Other than in that code, all positives of an anchor
    are mixed instead of the first, l is drawn for each mixture, and an anchor without a positive has no mixtures. The
    levels of images and of features are not here.

    Only positives in the batch are mixed, with negatives of the batch and of a memory. A point has the weight of its
    share alone, whatever a weighting says of its ends. Pair weights (``active_ratio_pairs``) are those of the samples.
    O(B S) time and memory beside the matrix of the comparison, S = |P| R for R references and the most positives |P| of
    an anchor, or ``most`` that are drawn where these are more. On a GPU the host waits once in a step for |P|.

    Args:
        alpha: of the Beta distribution, above 0; 2 in the authors' code.
        weight: w, at least 0; 0.4 in the authors' code.
        shared: whether one l is drawn for a step, as in the authors' code, instead of one for each mixture.
        most: bound on the mixtures of an anchor.
        spherical: whether embeddings are L2-normalised; mixtures then are too.

    The part ``loss_mixed`` is the loss of the mixtures, without weight.
    """

    paper = "arXiv:2106.04990"
    apart = True

    def __init__(
        self,
        alpha: Annotated[float, Field(ge=0.01)] = 2.0,
        weight: NonNegative = 0.4,
        shared: bool = False,
        most: Count = 4096,
        spherical: bool = True,
    ) -> None:
        super().__init__()
        self.draw = BetaDraw(alpha, alpha)
        self.weight, self.shared, self.most, self.spherical = weight, shared, most, spherical

    def mix(self, comparison: Comparison, pairs: Pairs) -> Mixtures:
        batch, references = comparison.shape
        own = pairs.positive[:, :batch]
        number = most_positives(own)
        # Positives come first, in their order.
        places = (~own).to(torch.int8).sort(dim=1, stable=True).indices[:, :number]
        present = own.gather(1, places)
        if number * references <= self.most:
            shape = (batch, places.shape[1], references)
            first = places.unsqueeze(2).expand(shape).flatten(1)
            second = torch.arange(references, device=own.device).expand(shape).flatten(1)
            valid = (present.unsqueeze(2) & pairs.negative.unsqueeze(1)).flatten(1)
        else:
            count = present.sum(1, keepdim=True)
            first = places.gather(1, place(uniform((batch, self.most), comparison), count))
            second = draw(pairs.negative, self.most, comparison.moment.generator)
            valid = ((count > 0) & pairs.negative.any(1, keepdim=True)).expand_as(first)
        share = self.shares(first.shape, comparison)
        return Mixtures(first, second, share, valid, share, 1 - share, spherical=self.spherical)

    def shares(self, shape: torch.Size, comparison: Comparison) -> Tensor:
        """l of each mixture, (B, S), in the dtype in which samples are compared."""
        drawn: Tensor = self.draw(uniform((1, 1) if self.shared else tuple(shape), comparison))
        return drawn.to(comparison.prepared[0].dtype).expand(shape)
