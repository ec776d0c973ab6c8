"""Error rates of verification class by class, and how far classes are from sharing a threshold."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from metriscope.escapes import for_csv
from metriscope.evaluation.verification.scores import cosines_of
from metriscope.files import replacing


class ClassCounts(NamedTuple):
    """The pairs of C classes that T thresholds accept. A negative pair counts for both of its classes."""

    labels: Tensor
    """(C,)."""
    edges: Tensor
    """(T,) int64, the thresholds as places, ascending."""
    positive: Tensor
    """(C, T) int64, accepted positive pairs."""
    negative: Tensor
    """(C, T) int64, accepted negative pairs."""
    positives: Tensor
    """(C,) int64, all positive pairs."""
    negatives: Tensor
    """(C,) int64, all negative pairs."""

    def rates(self) -> "ClassRates":
        """Of the classes that have positive and negative pairs."""
        these = (self.positives > 0) & (self.negatives > 0)
        far = self.negative[these].double() / self.negatives[these, None]
        frr = 1 - self.positive[these].double() / self.positives[these, None]
        return ClassRates(self.labels[these], cosines_of(self.edges), far, frr)


_COLUMNS = ("class", "threshold", "far", "frr", "shared_threshold", "shared_far", "shared_frr")


def write_thresholds(path: Path, rates: "ClassRates", classes: Sequence[str]) -> None:
    """Writes a CSV file with a line per class, the largest difference to the shared threshold first.

    ``threshold`` is the one that suits the class, ``shared_threshold`` the one that suits all classes on average, each
    with the FAR and FRR of the class at it.

    Args:
        path: of the file.
        rates: of the classes.
        classes: (C,) names by label.
    """
    shared, places, thresholds = rates.shared(), rates.best_places().tolist(), rates.thresholds.tolist()
    far, frr = rates.far.tolist(), rates.frr.tolist()
    lines = []
    for row, (label, at) in enumerate(zip(rates.labels.tolist(), places, strict=True)):
        own = thresholds[at], far[row][at], frr[row][at]
        lines.append((classes[label], *own, thresholds[shared], far[row][shared], frr[row][shared]))
    lines.sort(key=lambda line: -abs(line[1] - line[4]))
    with replacing(path) as draft, draft.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        writer.writerows(map(for_csv, line) for line in lines)


class ClassRates(NamedTuple):
    """FAR_c(d) and FRR_c(d) of classes c at thresholds d."""

    labels: Tensor
    """(C,)."""
    thresholds: Tensor
    """(T,) float64, cosines, ascending."""
    far: Tensor
    """(C, T) float64, shares of the negative pairs with a sample of the class."""
    frr: Tensor
    """(C, T) float64, shares of the positive pairs of the class."""

    @property
    def utility(self) -> Tensor:
        """U_c(d) = 2 a b / (a + b), a = 1 - FAR_c(d), b = 1 - FRR_c(d), (C, T) float64; 0 where a and b are 0."""
        a, b = 1 - self.far, 1 - self.frr
        total = a + b
        utility: Tensor = 2 * a * b / total.where(total > 0, 1)
        return utility

    @property
    def inconsistency(self) -> float:
        """The variance of U_c(d) over classes, averaged over the thresholds; NaN for fewer than two classes.

        After OPIS, arXiv:2307.04047, whose text was not read: the formula is from a secondary source, and the
        thresholds are evenly spaced between those of two FARs over all pairs, which may differ from the paper's.
        """
        if len(self.labels) < 2 or not len(self.thresholds):
            return math.nan
        return float(self.utility.var(0, correction=0).mean())

    def best(self) -> Tensor:
        """(C,) float64, of each class the largest of the thresholds with its largest U_c(d)."""
        found: Tensor = self.thresholds[self.best_places()]
        return found

    def best_places(self) -> Tensor:
        """(C,) int64, where these stand among the thresholds."""
        places: Tensor = len(self.thresholds) - 1 - self.utility.flip(1).argmax(1)
        return places

    def shared(self) -> int:
        """The place of the threshold with the largest mean of U_c(d) over classes, of several the largest."""
        return len(self.thresholds) - 1 - int(self.utility.mean(0).flip(0).argmax())


def edges_between(low: int, high: int, count: int) -> Tensor:
    """Places from ``low`` to ``high``, evenly spaced, ``count`` of them or as many as there are."""
    steps = torch.linspace(low, high, min(count, high - low + 1), dtype=torch.float64)
    found: Tensor = torch.unique(steps.round().long())
    return found
