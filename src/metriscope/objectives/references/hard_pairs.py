"""Hard pairs: mixtures of samples that are hard to tell, as further references."""

import math

import torch
from torch import Tensor

from metriscope.objectives.arguments import Positive, UnitInterval
from metriscope.objectives.chunks import block_rows
from metriscope.objectives.comparison import Segment
from metriscope.objectives.distances.base import precise
from metriscope.objectives.references.base import References
from metriscope.objectives.references.mixing import mix
from metriscope.objectives.samples import Moment, Samples
from metriscope.unit import unit_rows


class HardPairs(References):
    """Hard negatives l z_j + (1 - l) z_i and hard positives l z_p + (1 - l) z_n of each sample i, as Core-tuning mixes.

    j is a partner that is drawn and l at least ``least_share``; p is the positive of i with the smallest cosine, n its
    negative with the largest. l is drawn from Beta(alpha, alpha). A mixture has the pair of its ends' labels and their
    shares for a label, and is a positive of those that have the same: where both ends are of one class, of that class,
    and else a class of its own, which makes it a negative of every anchor. Hard positives are always of this kind.
    Gradients go through mixtures to both ends.

    Zhang et al., arXiv:2102.06605 (as read in the authors' code, Vanint/Core-tuning). Its contrastive loss is
    ``loss=supcon loss.focal=1``. Differences: they mix the trunk's features before a contrastive head and a classifier,
    with soft targets for the latter, here it is the space that the loss compares; mixtures are references and not
    anchors; real samples keep their gradient, which their code stops; each sample has another for a partner (all of
    the batch form one random cycle), where their permutation may give it itself; and the hard positive is the one
    that the paper describes, where their search mostly finds the sample itself (issue 1 of their repository).

    A mixture of two classes is pushed from both, though it is at least ``least_share`` a sample of one.
    Searching takes O(B^2 D), of which a block of anchors is held at once; the batch has 2 B mixtures, and matrices of
    pairs (B, R) grow by as many columns. Counts of a loss's terms include terms with mixtures; pairs that diagnostics
    count are those of real samples.

    Args:
        alpha: of the Beta distribution, above 0; 1, which is uniform, in the paper.
        least_share: the least share of a hard negative's drawn partner, from 0 to 1; 0.8 in the authors' code.
        spherical: whether mixtures are L2-normalised, as they have to be where embeddings are.
    """

    paper = "arXiv:2102.06605"
    not_across = dict.fromkeys(("other", "same"), "mixtures of two sides have no side")

    def __init__(self, alpha: Positive = 1.0, least_share: UnitInterval = 0.8, spherical: bool = True) -> None:
        super().__init__()
        self.alpha, self.least_share = alpha, least_share
        self.spherical = spherical

    def recall(self, batch: Samples, moment: Moment) -> Segment:
        """B hard negatives and B hard positives, attached to the graph; label -1 for those that are none."""
        labels = batch.labels
        own = torch.arange(len(labels), device=labels.device)
        partner, share = self._draw(len(labels), moment.generator)
        # In the dtype of the mixtures, of which a share that rounds to 1 is one end.
        partner, share = partner.to(labels.device), share.to(precise(batch.embeddings).dtype).to(labels.device)
        positive, negative, found = _hardest(batch)
        mixed = mix(batch, torch.cat([partner, positive]), torch.cat([own, negative]), share.flatten(), self.spherical)
        ends = torch.stack([torch.cat([labels[partner], labels[positive]]), torch.cat([labels, labels[negative]])])
        valid = torch.cat([partner != own, found]) & mixed.whole & (ends >= 0).all(0)
        named = torch.where(valid, _pair_labels(ends, share.flatten()), -1)
        index = torch.full_like(named, -1, dtype=torch.int64)
        return Segment(Samples(mixed.embeddings, named, index, affine=mixed.affine), synthetic=True)

    def _draw(self, count: int, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Partners (B,) and shares (2, B), float64, from a CPU generator, so that they are the same on every device."""
        order = torch.randperm(count, generator=generator)
        partner = torch.empty_like(order).scatter_(0, order, order.roll(-1))
        gammas = torch._standard_gamma(torch.full((2, 2, count), self.alpha, dtype=torch.float64), generator)
        # Both are 0 where alpha is so small that neither is a number.
        share = (gammas[0] + _TINY) / (gammas.sum(0) + 2 * _TINY)
        return partner, torch.stack([share[0].clamp_min(self.least_share), share[1]])


_TINY = 1e-300


def _pair_labels(ends: Tensor, share: Tensor) -> Tensor:
    """The class (S,) that a pair of labels (2, S) with the share of the first stands for; no class has the largest."""
    first, second = ends
    none = torch.full_like(first, torch.iinfo(first.dtype).max)
    of_two = torch.where(share == 1, first, torch.where(share == 0, second, none))
    return torch.where(first == second, first, of_two)


@torch.no_grad()
def _hardest(batch: Samples) -> tuple[Tensor, Tensor, Tensor]:
    """Of each sample the positive with the smallest cosine, the negative with the largest, and whether it has both."""
    labels, rows = batch.labels, unit_rows(precise(batch.embeddings))
    places = torch.arange(len(labels), device=labels.device)
    furthest, closest, both = [], [], []
    for some in torch.split(places, block_rows(len(labels), rows.device, rows.element_size())) if len(labels) else ():
        own = labels[some].unsqueeze(1)
        known = (own >= 0) & (labels >= 0)
        positive = known & (own == labels) & (some.unsqueeze(1) != places)
        negative = known & (own != labels)
        with torch.autocast(rows.device.type, enabled=False):
            similarities = rows[some] @ rows.T
        furthest.append(similarities.masked_fill(~positive, math.inf).argmin(1))
        closest.append(similarities.masked_fill(~negative, -math.inf).argmax(1))
        both.append(positive.any(1) & negative.any(1))
    if not both:
        return places, places, places > 0
    return torch.cat(furthest), torch.cat(closest), torch.cat(both)
