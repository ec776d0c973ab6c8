"""VARIANCE: the spread of embeddings within and between classes ([CT] arXiv:2510.02161).

All variances are computed from the moments of each class. Moments merge exactly (Chan et al. 1979), so the whole
evaluation set is measured in O(C D) memory, and several processes give the same result as one.
"""

from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize
from torchmetrics import Metric

from metriscope.diagnostics.spectrum import covariance, participation_ratio, second_moment, spectral_decay


@dataclass
class ClassMoments:
    """Count (C,), mean (C, D) and sum of squared distances to the mean (C,) of each class, in float64."""

    count: Tensor
    mean: Tensor
    scatter: Tensor

    @classmethod
    def of(cls, z: Tensor, labels: Tensor, num_classes: int) -> "ClassMoments":
        """The moments of one batch: z (B, D) of any float type, labels (B,) in 0..C-1."""
        z = z.detach().double()
        count = z.new_zeros(num_classes).index_add_(0, labels, z.new_ones(len(labels)))
        mean = z.new_zeros(num_classes, z.shape[1]).index_add_(0, labels, z) / count.clamp(min=1)[:, None]
        scatter = z.new_zeros(num_classes).index_add_(0, labels, (z - mean[labels]).square().sum(1))
        return cls(count, mean, scatter)

    @classmethod
    def none(cls, num_classes: int, size: int, device: torch.device | None = None) -> "ClassMoments":
        """The moments of no sample: C classes, D = ``size``."""
        vectors = torch.zeros(2, num_classes, dtype=torch.float64, device=device)
        return cls(vectors[0], vectors.new_zeros(num_classes, size), vectors[1])

    def update(self, z: Tensor, labels: Tensor) -> None:
        """Add a batch in place: z (B, D), labels (B,), at a cost of O(B D) however many classes there are.

        The host does not wait for the number of classes: there are B places for them, of which the last stay empty.
        """
        ordered, order = labels.sort()
        first = torch.ones_like(ordered)
        first[1:] = ordered[1:] != ordered[:-1]
        places = first.cumsum(0) - 1
        # What stands at empty places is never looked at.
        classes = ordered.scatter(0, places, ordered)
        there = ClassMoments(self.count[classes], self.mean[classes], self.scatter[classes])
        there.merge(ClassMoments.of(z, torch.empty_like(order).scatter_(0, order, places), len(labels)))
        # Each sample writes the moments of its class, so that a class is written with the same numbers by all of them.
        self.count[ordered], self.mean[ordered] = there.count[places], there.mean[places]
        self.scatter[ordered] = there.scatter[places]

    def merge(self, other: "ClassMoments") -> None:
        """Add the samples of other moments, of the same classes."""
        count = self.count + other.count
        share = other.count / count.clamp(min=1)
        step = other.mean - self.mean
        self.mean = self.mean + share[:, None] * step
        self.scatter = self.scatter + other.scatter + self.count * share * step.square().sum(1)
        self.count = count

    def copy(self) -> "ClassMoments":
        """The same moments in tensors of their own."""
        return ClassMoments(self.count.clone(), self.mean.clone(), self.scatter.clone())

    def present(self) -> "ClassMoments":
        """Only the classes that have samples; the host waits for their number, once for the whole set."""
        found = self.count > 0
        if found.all():
            return self
        return ClassMoments(self.count[found], self.mean[found], self.scatter[found])


def variance_intra(moments: ClassMoments) -> Tensor:
    """Mean over classes of the mean squared distance to the class mean [CT]; 0 without samples."""
    moments = moments.present()
    return _mean(moments.scatter / moments.count)


def variance_inter(moments: ClassMoments) -> Tensor:
    """Mean squared distance of the class means to the mean of the class means [CT]."""
    means = moments.present().mean
    return _mean((means - means.mean(0)).square().sum(1))


def variance_inter_pairwise(moments: ClassMoments) -> Tensor:
    """Mean over pairs of classes of the squared distance of their means; 0 for fewer than two."""
    return _mean_pairwise(moments.present().mean)


def variance_inter_spread(moments: ClassMoments) -> Tensor:
    """How unevenly the class means are spaced [VG] (arXiv:2601.21450): 0 where all are equally far from each other.

    The standard deviation of the squared distances between two class means, divided by their mean. With the means
    a_i (C, D) centred, the sum of |a_i - a_j|^4 over all (i, j) is 2 C sum |a_i|^4 + 2 (sum |a_i|^2)^2 + 4 |A'A|^2:
    O(C D^2) time and O(D^2) memory, never C x C.
    """
    means = moments.present().mean
    pairs = len(means) * (len(means) - 1)
    if pairs == 0:
        return means.new_zeros(())
    means = means - means.mean(0)
    norms = means.square().sum(1)
    total = 2 * len(means) * norms.sum()
    fourth = 2 * len(means) * norms.square().sum() + 2 * norms.sum().square() + 4 * (means.T @ means).square().sum()
    variance = (fourth / pairs - (total / pairs).square()).clamp(min=0)
    return _ratio(variance.sqrt(), total / pairs)


def variance_ratio(moments: ClassMoments) -> Tensor:
    """``variance_intra / variance_inter``: 0 where both are 0, infinite where only the denominator is."""
    return _ratio(variance_intra(moments), variance_inter(moments))


def variance_within(moments: ClassMoments) -> Tensor:
    """Mean over samples of the squared distance to their class mean, which weights classes by size."""
    return moments.scatter.sum() / moments.count.sum().clamp(min=1)


def variance_between(moments: ClassMoments) -> Tensor:
    """Mean over samples of the squared distance of their class mean to the mean of all samples."""
    weight = moments.count / moments.count.sum().clamp(min=1)
    centre = weight @ moments.mean
    return weight @ (moments.mean - centre).square().sum(1)


def variance_total(moments: ClassMoments) -> Tensor:
    """Mean squared distance to the mean of all samples = within + between (law of total variance)."""
    return variance_within(moments) + variance_between(moments)


def cosine_intra(unit: ClassMoments) -> Tensor:
    """Mean over classes of the mean cosine distance over their pairs of samples ([RDML] arXiv:2002.08473).

    For unit vectors 1 - cos is half the squared distance, and its mean over the pairs of a class is
    scatter / (N_c - 1). Classes of one sample have no pair and are left out.

    Args:
        unit: moments of L2-normalised embeddings.
    """
    paired = unit.count > 1
    return _mean(unit.scatter[paired] / (unit.count[paired] - 1))


def cosine_inter(unit: ClassMoments) -> Tensor:
    """Mean over pairs of classes of the cosine distance of their means [RDML]; 0 for fewer than two."""
    return _mean_pairwise(normalize(unit.present().mean, dim=1)) / 2


def pi_ratio(unit: ClassMoments) -> Tensor:
    """``cosine_intra / cosine_inter`` [RDML]: 0 where both are 0, infinite where only the denominator is."""
    return _ratio(cosine_intra(unit), cosine_inter(unit))


VARIANCES = (
    variance_intra,
    variance_inter,
    variance_inter_pairwise,
    variance_inter_spread,
    variance_ratio,
    variance_within,
    variance_between,
    variance_total,
)
COSINES = (cosine_intra, cosine_inter, pi_ratio)


class VarianceMetrics(Metric):
    """Variances of a whole evaluation set, as scalars named after the functions of this module.

    Keys without a suffix describe the L2-normalised embedding; variances with the suffix ``_raw`` describe the head's
    output before normalisation. The cosine distances and ``spectral_decay``, as [RDML] defines them, and
    ``participation_ratio`` are computed from the normalised embedding only. Classes without samples are left out.
    O(B D^2) time for a batch, O(C D + D^2) memory.

    Every state is a list of partial moments, with one entry per process after gathering. D is unknown before the first
    batch, so a process without a batch holds partial moments of width 0.

    Args:
        num_classes: C; labels lie in 0..C-1.
    """

    full_state_update = False
    is_differentiable = False

    def __init__(self, num_classes: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.count: list[Tensor]
        self.unit_mean: list[Tensor]
        self.unit_scatter: list[Tensor]
        self.raw_mean: list[Tensor]
        self.raw_scatter: list[Tensor]
        self.moment: list[Tensor]
        for name in ("count", "unit_mean", "unit_scatter", "raw_mean", "raw_scatter", "moment"):
            self.add_state(name, default=[], dist_reduce_fx=None)
        self._begin()

    def _begin(self) -> None:
        nothing = ClassMoments.none(self.num_classes, 0, self.device)
        self._hold(nothing, nothing, nothing.mean[:0])

    def _hold(self, unit: ClassMoments, raw: ClassMoments, moment: Tensor) -> None:
        self.count, self.moment = [unit.count], [moment]
        self.unit_mean, self.unit_scatter = [unit.mean], [unit.scatter]
        self.raw_mean, self.raw_scatter = [raw.mean], [raw.scatter]

    def _parts(self) -> list[tuple[ClassMoments, ClassMoments, Tensor]]:
        states = (self.count, self.unit_mean, self.unit_scatter, self.raw_mean, self.raw_scatter, self.moment)
        return [
            (ClassMoments(count, mean, scatter), ClassMoments(count, raw_mean, raw_scatter), moment)
            for count, mean, scatter, raw_mean, raw_scatter, moment in zip(*states, strict=True)
            if mean.shape[1] > 0
        ]

    def reset(self) -> None:
        """Forget all samples."""
        super().reset()
        self._begin()

    # States that were made in inference mode could not be changed in place outside of it.
    @torch.inference_mode(False)
    def update(self, z: Tensor, raw: Tensor, labels: Tensor) -> None:
        """Add a batch: embeddings z (B, D), the head's unnormalised output raw (B, D), labels (B,)."""
        labels = labels.to(self.device)
        z, raw = (x.detach().to(self.device).double() for x in (z, raw))
        z = normalize(z, dim=1)
        parts = self._parts()
        if parts:
            unit, rest, moment = _merged(parts)
        else:
            unit, rest = (ClassMoments.none(self.num_classes, x.shape[1], self.device) for x in (z, raw))
            moment = second_moment(z[:0])
        if len(self.count) > 1:  # what was merged may belong to other metrics
            unit, rest = unit.copy(), rest.copy()
        rest.count = unit.count.clone()
        unit.update(z, labels)
        rest.update(raw, labels)
        self._hold(unit, rest, moment + second_moment(z))

    def compute(self) -> dict[str, Tensor]:
        """The metrics over the samples of all processes, as float64 scalars; empty before the first sample."""
        parts = self._parts()
        if not parts:
            return {}
        unit, raw, moment = _merged(parts)
        unit, raw = unit.present(), raw.present()
        metrics = {f.__name__: f(unit) for f in VARIANCES + COSINES}
        metrics |= {f"{f.__name__}_raw": f(raw) for f in VARIANCES}
        metrics["spectral_decay"] = spectral_decay(moment)
        count = unit.count.sum()
        metrics["participation_ratio"] = participation_ratio(covariance(moment, unit.count @ unit.mean / count, count))
        return metrics


def _merged(
    parts: list[tuple[ClassMoments, ClassMoments, Tensor]],
) -> tuple[ClassMoments, ClassMoments, Tensor]:
    def merge(moments: list[ClassMoments]) -> ClassMoments:
        first = moments[0]
        whole = ClassMoments(first.count, first.mean, first.scatter)
        for other in moments[1:]:
            whole.merge(other)
        return whole

    units, raws, moments = zip(*parts, strict=True)
    return merge(list(units)), merge(list(raws)), reduce(torch.add, moments)


def _mean(values: Tensor) -> Tensor:
    return values.sum() / max(len(values), 1)


def _mean_pairwise(points: Tensor) -> Tensor:
    """Mean squared distance over pairs of distinct rows, from the scatter about their mean."""
    scatter = (points - points.mean(0)).square().sum()
    return 2 * scatter / max(len(points) - 1, 1) if len(points) > 1 else scatter.new_zeros(())


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    return torch.where((part == 0) & (whole == 0), 0.0, part / whole)
