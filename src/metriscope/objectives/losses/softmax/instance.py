"""Instance loss."""

from collections.abc import Callable

import torch

from metriscope.objectives.arguments import Positive
from metriscope.objectives.block import Block
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.kernels.rows import mean_over_anchors
from metriscope.objectives.kernels.softmax import likelihood
from metriscope.objectives.losses.base import Loss
from metriscope.objectives.output import LossOutput
from metriscope.objectives.selection import Pairs, RowPairs, Selection


class InstanceLoss(Loss):
    """Mean over samples i of -log(exp(gamma s_ic) / sum_j exp(gamma s_ij)), c the first sample of the class of i.

    Zheng et al., arXiv:1711.05535, classify each instance by a layer of weights; here, as in pytorch-metric-learning
    (the paper was not read), the samples of the batch are the weights: s is the cosine similarity and j runs over all
    samples, i itself among them. In a batch of one sample per class, c is i itself, so that samples are pushed apart
    and nothing is pulled.

    pytorch-metric-learning's ``InstanceLoss`` takes the c-th sample of the batch for the c-th of its classes, in order
    of labels, whatever the class of that sample. The two are equal in batches that begin with one sample of each class,
    in order of labels. Further references (a memory), which that library does not take, are among the j. Between two
    sides (``pairs_across=other``) j and c are of the other side.

    Args:
        gamma: scale of similarities, above 0; 64 as in pytorch-metric-learning.

    ``terms`` are the labelled samples of a batch with more than one, all of them active.
    """

    accepts = frozenset({"none"})
    weighable = frozenset({"rows"})
    hinge = False
    paper = "arXiv:1711.05535"

    def __init__(self, gamma: Positive = 64.0) -> None:
        super().__init__()
        self.gamma = gamma

    def forward(self, comparison: Comparison, selection: Selection) -> LossOutput:
        return mean_over_anchors(comparison, RowPairs(_targets(comparison)), likelihood(1 / self.gamma))


def _targets(comparison: Comparison) -> Callable[[Block], Pairs]:
    """Chooses the first sample of the anchor's class for its positive, and all others for its negatives."""
    classes, labels = comparison.classes, comparison.anchors.labels
    targets = labels
    if len(labels):
        first = classes.order.take(classes.start.clamp_max(len(classes.order) - 1))
        targets = torch.where(classes.size > 0, first, -1)
    apart = comparison.across == "other"
    columns = torch.arange(comparison.shape[1], device=labels.device)

    def choose(block: Block) -> Pairs:
        places = comparison.first + torch.arange(block.rows.start, block.rows.stop, device=labels.device)
        every = block.positive | block.negative
        if not apart:
            every = every | ((columns == places.unsqueeze(1)) & (labels[block.rows] >= 0).unsqueeze(1))
        target = columns == targets[block.rows].unsqueeze(1)
        return Pairs(every & target, every & ~target)

    return choose
