"""One small part for each door of the contract: state of samples, weights, synthetic references, a learned distance."""

import torch
from torch import nn

from metriscope.distances import Distance
from metriscope.losses import Loss, LossOutput
from metriscope.objectives.comparison import Segment
from metriscope.objectives.kernels.rows import mean_over_anchors
from metriscope.objectives.kernels.rules import Inputs, Rule
from metriscope.objectives.references.base import References
from metriscope.objectives.samples import Samples
from metriscope.objectives.selection import Pairs
from metriscope.objectives.state import SampleState
from metriscope.objectives.weightings.base import Weighting


class Remembering(Loss):
    """Similarity of positives below that of negatives, times what each sample has cost so far."""

    accepts = frozenset({"all", "pairs"})
    weighable = frozenset({"rows"})
    hinge = False

    def __init__(self, num_samples: int, momentum: float = 0.5) -> None:
        super().__init__()
        self.momentum = momentum
        self.state = SampleState(num_samples, cost=1.0)

    def forward(self, comparison, selection):
        cost = self.state.read("cost", comparison.anchors.index)

        def formula(rows):
            pull, push = (mask / mask.sum(1, keepdim=True).clamp_min(1) for mask in (rows.positive, rows.negative))
            return rows.anchors * (1 + (rows.values * (push - pull)).sum(1, keepdim=True))

        inputs = Inputs(cost.to(comparison.prepared[0].dtype).unsqueeze(1))
        return mean_over_anchors(comparison, selection, Rule(formula, plain=True), inputs=inputs)

    def observe(self, account, moment):
        index = account.comparison.anchors.index
        old = self.state.read("cost", index)
        self.state.write("cost", index, self.momentum * old + (1 - self.momentum) * account.output.rows)


class AboveAverage(Weighting):
    """Anchors that cost more than the average of past steps count twice."""

    weighs = frozenset({"rows"})
    average: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("average", torch.zeros(()))

    def weigh_rows(self, losses, index, moment):
        return 1 + (losses > self.average).to(losses.dtype)

    def observe(self, account, moment):
        self.average.copy_(0.5 * self.average + 0.5 * account.output.costs.mean())


class Evenly(Weighting):
    """Every pair and every anchor with one weight."""

    weighs = frozenset({"pairs", "rows"})

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = weight

    def weigh_pairs(self, comparison, pairs):
        weights = torch.full(pairs.positive.shape, self.weight, dtype=comparison.distances.dtype)
        return Pairs(pairs.positive, pairs.negative, weights, weights)

    def weigh_rows(self, losses, index, moment):
        return torch.full_like(losses, self.weight)


class Alike(Weighting):
    """Negatives that the trunk takes to be alike count less."""

    weighs = frozenset({"pairs"})

    def __init__(self, affinity: str = "trunk") -> None:
        super().__init__()
        self.affinity = affinity

    def weigh_pairs(self, comparison, pairs):
        return Pairs(pairs.positive, pairs.negative, None, (1 - comparison.affinity) / 2)


class Between(References):
    """A negative of every class but its own, between each sample and the next, at a share that is drawn."""

    def recall(self, batch, moment):
        share = torch.rand(len(batch.labels), 1, generator=moment.generator).to(batch.embeddings)
        mixed = share * batch.embeddings + (1 - share) * batch.embeddings.roll(1, 0)
        source = torch.arange(len(batch.labels))
        samples = Samples(mixed, batch.labels, torch.full_like(batch.labels, -1), source)
        return Segment(samples, negatives_only=True)


class Stretched(Distance):
    """The squared Euclidean distance times a factor that is learned."""

    name = "stretched"

    def __init__(self) -> None:
        super().__init__()
        self.logarithm = nn.Parameter(torch.zeros(()))

    def block(self, anchors, references):
        squares = anchors.square().sum(1, keepdim=True) + references.square().sum(1) - 2 * anchors @ references.T
        return self.logarithm.exp() * squares.clamp_min(0)

    def to_squared_euclidean(self, distances):
        return distances / self.logarithm.exp()


class Spherical(Stretched):
    """A distance of unit vectors alone."""

    name = "spherical"
    domain = "sphere"


class Idle(Loss):
    """Compares nothing and has no state: the sum of all components."""

    accepts = frozenset({"none", "all"})
    hinge = False

    def forward(self, comparison, selection):
        terms = torch.tensor(len(comparison.anchors.labels))
        return LossOutput(comparison.anchors.embeddings.sum(), terms, terms, {})
