"""Contrastive loss on the signal-to-noise ratio."""

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from metriscope.objectives.arguments import NonNegative, Reduction
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.kernels.rules import Inputs, Judged, Rows, Rule
from metriscope.objectives.losses.pairs.hinges import PairHinges
from metriscope.objectives.output import LossOutput
from metriscope.objectives.selection import Selection

# The signal of an embedding whose components are all equal, in place of 0.
_LEAST_SIGNAL = 1e-12


class SignalToNoiseLoss(PairHinges):
    """Positives d, negatives max(0, margin - d), with d = var(reference - anchor) / var(anchor).

    Yuan et al., Signal-to-Noise Ratio: A Robust Distance Metric for Deep Metric Learning, CVPR 2019,
    arXiv:1904.02616: the anchor is the signal, its difference to the other sample the noise. d is
    not symmetric and does not depend on the scale of embeddings. The paper adds the mean over samples of |sum of an
    embedding's components|, with weight ``mean_weight``. It is a mean over samples, so it counts in a batch without
    pairs too, as pytorch-metric-learning's ZeroMeanRegularizer does.

    With ``reduction=mean_active`` and normalised embeddings the loss equals pytorch-metric-learning's
    ``SignalToNoiseRatioContrastiveLoss``, which computes a (B, R, D) tensor of differences.

    Args:
        margin: ratio beyond which a negative costs nothing, above 0.
        positive_margin: ratio below which a positive costs nothing, at least 0.
        mean_weight: weight of the zero-mean part, at least 0.
        squared: whether hinges are squared.
        reduction: ``mean`` over all pairs, ``sum``, or ``mean_active``: the means over non-zero positives and over
            non-zero negatives, added.

    ``terms`` are all pairs, ``active`` the non-zero hinges.
    """

    needs_cosines = True
    paper = "arXiv:1904.02616"

    def __init__(
        self,
        margin: NonNegative = 1.0,
        positive_margin: NonNegative = 0.0,
        mean_weight: NonNegative = 0.0,
        squared: bool = False,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(margin, positive_margin, squared, reduction)
        self.mean_weight = mean_weight

    def inputs(self, comparison: Comparison) -> Inputs:
        """Mean and signal D var of each anchor (B, 2), and the mean of each reference (R, 1).

        Cosine distances give the ratio of the L2-normalised embeddings.
        """
        dtype = comparison.prepared[0].dtype
        anchors, references = (samples.embeddings.to(dtype) for samples in (comparison.anchors, comparison.references))
        if comparison.distance.directions:
            anchors, references = F.normalize(anchors, dim=1), F.normalize(references, dim=1)
        means = anchors.mean(1, keepdim=True)
        signal = (anchors - means).square().sum(1, keepdim=True).clamp_min(_LEAST_SIGNAL)
        root = anchors.shape[1] ** 0.5
        learned = tuple(p for p in comparison.distance.parameters() if p.requires_grad)
        return Inputs(torch.cat([root * means, signal], 1), root * references.mean(1, keepdim=True), learned)

    def counting(self, comparison: Comparison) -> Rule:
        return self.rule(comparison, (1.0, 1.0), False)

    def rule(self, comparison: Comparison, scales: Sequence[float | Tensor], counted: bool) -> Rule:
        to_squared = comparison.distance.to_squared_euclidean

        def ratios(rows: Rows) -> Judged:
            # With m the mean of a vector's D components, D var(r - a) = ||r - a||^2 - D (m_r - m_a)^2.
            assert rows.anchors is not None
            assert rows.references is not None
            mean, signal = rows.anchors[:, :1], rows.anchors[:, 1:]
            noise = to_squared(rows.values) - (mean - rows.references.T).square()
            return self.formula(replace(rows, values=noise.clamp_min(0) / signal), scales)

        return Rule(ratios, of_distances=True, reported=1, counts=2, complete=False, plain=True)

    def forward(self, comparison: Comparison, selection: Selection) -> LossOutput:
        output = super().forward(comparison, selection)
        if not self.mean_weight:
            return output
        embeddings = comparison.anchors.embeddings.to(output.value.dtype)
        offset = embeddings.sum(1).abs().sum() / max(1, len(embeddings))
        parts = {**output.parts, "zero_mean": offset.detach()}
        return output._replace(value=output.value + self.mean_weight * offset, parts=parts)
