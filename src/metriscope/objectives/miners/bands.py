"""Miners that select a band of triplets by the gap d(a, n) - d(a, p), without a list."""

import math
from collections.abc import Mapping
from typing import Any

from metriscope.objectives.comparison import Comparison
from metriscope.objectives.miners.base import Miner
from metriscope.objectives.selection import TripletBand
from metriscope.parts import ArgumentError


class AllMiner(Miner):
    """Every pair and every triplet that the labels allow."""

    kind = "all"
    paper = "arXiv:2510.02161"

    def select(self, comparison: Comparison) -> TripletBand:
        return TripletBand()


class NoMiner(Miner):
    """For losses that weigh or pick their terms themselves."""

    kind = "none"

    def select(self, comparison: Comparison) -> TripletBand:
        return TripletBand()


class BandMiner(Miner):
    """Triplets with ``low < d(a, n) - d(a, p) < high``, in units of the distance.

    With m the margin: semi-hard (0, m) as in FaceNet (arXiv:1503.03832), hard (-inf, 0), easy (m, inf),
    violating (-inf, m).

    Args:
        low, high: the open interval, ``low`` below ``high``; None for no bound.
    """

    kind = "band"
    paper = "arXiv:1503.03832"

    def __init__(self, low: float | None = None, high: float | None = None) -> None:
        super().__init__()
        self.band = TripletBand(-math.inf if low is None else low, math.inf if high is None else high)

    @classmethod
    def check(cls, arguments: Mapping[str, Any]) -> None:
        low, high = arguments["low"], arguments["high"]
        if low is not None and high is not None and low >= high:
            raise ArgumentError("low", low, f"it has to be below high={high}, or no triplet is ever selected")

    def select(self, comparison: Comparison) -> TripletBand:
        return self.band
