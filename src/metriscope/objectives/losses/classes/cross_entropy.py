"""Cross-entropy of a linear classifier: the baseline without metric learning."""

import torch
import torch.nn.functional as F
from torch import nn

from metriscope.objectives.arguments import Count
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.losses.base import Loss
from metriscope.objectives.losses.classes.proxies import own_classes, precise, softmax_loss
from metriscope.objectives.output import LossOutput
from metriscope.objectives.selection import Selection


class CrossEntropyLoss(Loss):
    """-log softmax_y(W z + b), a linear classifier with bias on the embedding z of the head.

    The classification baseline of [MLRC] (arXiv:2003.08505), where it rivals metric-learning losses. On embeddings of
    unit length (``head.normalize``) scores grow only with the weights; see :class:`NormalizedSoftmaxLoss` for the form
    with a temperature. ``active`` and ``terms`` both count samples. ``similarities`` are the scores, dot products
    rather than cosines.

    Args:
        num_classes: C; class c has label c. Samples with another label have no term.
        embedding_size: D.
    """

    needs_cosines = True
    accepts = frozenset({"none"})
    hinge = False
    paper = "arXiv:2003.08505"
    bound_to_classes = True

    def __init__(self, num_classes: Count, embedding_size: Count) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.classifier = nn.Linear(embedding_size, num_classes)

    def forward(self, comparison: Comparison, selection: Selection) -> LossOutput:
        embeddings, weight = precise(comparison.anchors.embeddings, self.classifier.weight)
        with torch.autocast(embeddings.device.type, enabled=False):
            scores = F.linear(embeddings, weight, self.classifier.bias.to(weight.dtype))
        return softmax_loss(scores, own_classes(comparison.anchors.labels, self.num_classes), 1.0)
