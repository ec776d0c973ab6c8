"""SogCLR: a contrastive loss over the data set, estimated from small batches."""

import torch
from torch import Tensor

from metriscope.objectives.arguments import Count, Positive
from metriscope.objectives.losses.softmax.global_contrastive import GlobalContrastiveLoss, Momentum


class SogCLRLoss(GlobalContrastiveLoss):
    """Mean over anchors i of t log u_i - mean_p s_ip, u_i a moving average of the mean of exp(s_in / t) over negatives.

    Yuan et al., arXiv:2202.12387 (as read in the authors' code; the paper was not read): the logarithm of the mean over
    all negatives of the data set, of which a small batch gives a biased estimate. For each sample of the training set
    the loss remembers u: at the first visit u_i = e_i, the mean of exp(s_in / t) over the negatives n of the batch,
    later u_i = (1 - gamma) u_i + gamma e_i. The gradient is that of mean_i [sum_n w_in s_in - mean_p s_ip] with
    w_in = exp(s_in / t) / (|N(i)| u_i) held fixed. It is not the derivative of the value, which is the estimate of the
    objective. (The authors return the former, whose value has no meaning.) s is the cosine similarity; positives and
    negatives are given by labels (in the paper: two views of an image, and all other images). Anchors without a
    positive or without a negative are left out. With gamma=1, the gradient is t times that of
    ``decoupled_contrastive`` where anchors have the same number of positives.

    Sources differ in the first visit; here each sample has its own, and the limit is the same. A sample that is in the
    batch more than once has one u, the average over its rows; the weights of the step are those of each row. Samples
    that are none of the training set have no u: e stands for it. Outside of training nothing is remembered.
    pytorch-metric-learning has no such loss.

    Args:
        num_samples: of the training set; None where there is none, so that nothing is remembered.
        temperature: t, above 0.
        gamma: weight of the batch in the moving average, above 0; 1 for the batch alone. 0.8 in the authors' code of
            single views, 0.9 in LibAUC.

    The state is 4 bytes per sample, log u, and in the checkpoint. The parts ``estimate_lag`` and
    ``negative_divergence`` are means over anchors: of the distance of log u_i from log e_i, and of the divergence
    KL(w || uniform) of the batch's weights. ``terms`` are the anchors of the mean, all of them active.
    """

    paper = "arXiv:2202.12387"

    def __init__(self, num_samples: Count | None = None, temperature: Positive = 0.1, gamma: Momentum = 0.9) -> None:
        super().__init__(num_samples, gamma)
        self.temperature = temperature

    def temperatures(self, index: Tensor) -> Tensor:
        return torch.full_like(index, self.temperature, dtype=torch.float64)
