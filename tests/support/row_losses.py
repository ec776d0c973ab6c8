"""Losses of every kind of rule, and a learned distance, over a batch with a memory."""

import torch
from oracles import embeddings
from row_oracles import LABELLED, MEMORY, memory_embeddings
from row_rules import B
from torch import nn

from metriscope.losses import (
    ContrastiveLoss,
    InfoNCELoss,
    MarginLoss,
    MultiSimilarityLoss,
    NCALoss,
    RankedListLoss,
    SignalToNoiseLoss,
    SupConLoss,
    TripletLoss,
)
from metriscope.objectives.comparison import Comparison, Segment
from metriscope.objectives.distances.base import Distance, precise
from metriscope.objectives.distances.cosine import Cosine
from metriscope.objectives.losses.row_loss import RowLoss
from metriscope.objectives.numerics import log_sum_exp
from metriscope.objectives.samples import Samples
from metriscope.objectives.selection import TripletBand


class Softmax(RowLoss):
    """-log of the share of positives, at a learned temperature."""

    def __init__(self):
        super().__init__()
        self.temperature = nn.Parameter(torch.tensor(0.5, dtype=torch.float64))

    def formula(self, rows):
        logits = rows.values / self.temperature.to(rows.values.dtype)
        masks = rows.positive, rows.negative
        own, others = (log_sum_exp(logits, mask) for mask in masks)
        return torch.logaddexp(own, others) - own


class Stretched(Distance):
    """Euclidean along learned axes, with the gradients that torch finds."""

    name = "stretched"

    def __init__(self):
        super().__init__()
        self.axes = nn.Parameter(torch.tensor([1.0, 0.5, 2.0, 1.5], dtype=torch.float64))

    def block(self, anchors, references):
        axes = self.axes.to(anchors.dtype)
        gaps = (anchors * axes).unsqueeze(1) - (references * axes).unsqueeze(0)
        return (gaps.square().sum(2) + 1e-3).sqrt()

    def to_squared_euclidean(self, distances):
        return distances.square()


class Halved(Distance):
    """(1 - cos) / 2, whose gradients are matrix products, and whose similarities follow from the distances."""

    name = "halved"
    directions = True

    def prepare(self, anchors, *others):
        return tuple(nn.functional.normalize(precise(rows), dim=1) for rows in (anchors, *others))

    def block(self, anchors, references):
        return (1 - anchors @ references.T) / 2

    def products(self, distances, slopes):
        return slopes.mul_(-0.5)

    def to_squared_euclidean(self, distances):
        return 4 * distances


class Threefold(Distance):
    """3 ||a - b||^2, whose gradients are matrix products and depend on lengths."""

    name = "threefold"
    differences = True

    def block(self, anchors, references):
        return 3 * (anchors.unsqueeze(1) - references.unsqueeze(0)).square().sum(2)

    def products(self, distances, slopes):
        return slopes.mul_(-6)

    def to_squared_euclidean(self, distances):
        return distances / 3


def losses():
    margin = MarginLoss(3, 4, nu=0.1).double()
    plain = InfoNCELoss(0.3), MultiSimilarityLoss(base=0.5), NCALoss(), SupConLoss(0.3), TripletLoss(0.5), Softmax()
    apart = ContrastiveLoss(positive_margin=0.2, reduction="mean_active"), SignalToNoiseLoss(reduction="mean_active")
    return {type(loss).__name__: loss for loss in (*plain, *apart, RankedListLoss(detach_weights=False), margin)}


LOSSES = losses()


def judged(loss, z, past=None, distance=None, selection=None, weigh=None):
    """The value for a batch, beside further references."""
    batch = Samples.of(z, torch.tensor(LABELLED), torch.arange(B))
    further = [] if past is None else [Segment(Samples.of(past, torch.tensor(MEMORY)))]
    comparison = Comparison(batch, [Segment(batch), *further], distance or Cosine())
    return loss(comparison if weigh is None else comparison.weighed(weigh), selection or TripletBand())


def points(dtype=torch.float64):
    return embeddings(LABELLED, dtype), memory_embeddings(True).to(dtype)
