"""Center contrastive loss (CCL): embeddings against a bank of class centres."""

import torch
from torch import Tensor, nn

from metriscope.objectives.arguments import CosineGap, Count, NonNegative, Positive, UnitInterval
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.losses.base import Loss
from metriscope.objectives.losses.classes.prototypes import moved
from metriscope.objectives.losses.classes.proxies import (
    Own,
    cosine_similarities,
    own_classes,
    own_scores,
    precise,
    softmax_loss,
    unit_vectors,
)
from metriscope.objectives.output import Account, LossOutput
from metriscope.objectives.samples import Moment
from metriscope.objectives.selection import Selection
from metriscope.unit import unit_rows


class CenterContrastiveLoss(Loss):
    """-log e^{s (c_y . x - m)} / (e^{s (c_y . x - m)} + sum_{j != y} e^{s c_j . x}) + w ||x - c_y||^2.

    x is the embedding and c_j the centre of class j, both of unit length. Center contrastive loss: Cai et al.,
    arXiv:2308.00458, equation 5 as quoted in other papers, which leave out the constant 2 w; one of the seven losses of
    [VG] (arXiv:2601.21450). The rest, with all defaults, is this project's reading of the abstract:

    - "The center bank is updated in real-time": in training, after the loss of a batch is computed, the centre c of
      each class in the batch moves to normalise(momentum c + (1 - momentum) mean of its normalised embeddings); centres
      of other classes stay. No gradient flows into centres. They are buffers, hence in the checkpoint, and never change
      in eval mode.
    - ``momentum=null`` takes the abstract's "well-optimized classification proxies" literally: centres are parameters,
      learned by gradient.
    - Centres start in random directions, not at an embedding.

    ``active`` and ``terms`` both count samples; the parts ``loss_contrast`` and ``loss_center`` add up to the
    value. pytorch-metric-learning has no such loss.

    Args:
        num_classes: C; class c has label c. Samples with another label have no term.
        embedding_size: D.
        scale: s, above 0.
        margin: m, in units of cosine similarity, between 0 and 2.
        center_weight: w, at least 0.
        momentum: weight of the old centre in the new one, from 0 to 1; None to learn centres by gradient.
    """

    needs_cosines = True
    accepts = frozenset({"none"})
    hinge = False
    paper = "arXiv:2308.00458"
    bound_to_classes = True
    centers: Tensor

    def __init__(
        self,
        num_classes: Count,
        embedding_size: Count,
        scale: Positive = 16.0,
        margin: CosineGap = 0.1,
        center_weight: NonNegative = 1.0,
        momentum: UnitInterval | None = 0.5,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.scale = scale
        self.margin = margin
        self.center_weight = center_weight
        self.momentum = momentum
        centers = unit_vectors(num_classes, embedding_size)
        if momentum is None:
            self.centers = nn.Parameter(centers)
        else:
            self.register_buffer("centers", centers)

    def forward(self, comparison: Comparison, selection: Selection) -> LossOutput:
        own = own_classes(comparison.anchors.labels, self.num_classes)
        similarities = cosine_similarities(comparison.anchors.embeddings, self.centers)
        to_own = own_scores(similarities, own)
        contrast = softmax_loss(similarities, own, self.scale, to_own - self.margin)
        distance = ((2 - 2 * to_own) * own.known).sum() / own.terms.clamp_min(1)
        pulled = self.center_weight * distance
        parts = {"loss_contrast": contrast.value.detach(), "loss_center": pulled.detach()}
        return contrast._replace(value=contrast.value + pulled, parts=parts)

    @torch.no_grad()
    def observe(self, account: Account, moment: Moment) -> None:
        if self.momentum is not None:
            anchors = account.comparison.anchors
            self.update(anchors.embeddings, own_classes(anchors.labels, self.num_classes), self.momentum)

    @torch.no_grad()
    def update(self, embeddings: Tensor, own: Own, momentum: float) -> None:
        """Move the centres of the classes in a batch (B, D) towards their embeddings."""
        embeddings, centers = precise(embeddings, self.centers)
        classes = torch.arange(self.num_classes, device=centers.device)
        members = (classes.unsqueeze(1) == own.column) & own.known
        # A matrix product, because a scattered sum on a GPU adds in any order, and centres would differ between
        # processes.
        with torch.autocast(centers.device.type, enabled=False):
            sums = members.to(centers.dtype) @ unit_rows(embeddings)
        counts = members.sum(1, keepdim=True)
        self.centers.copy_(moved(centers, sums, counts, momentum))
