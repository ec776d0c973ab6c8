"""Weightings against none where training labels are wrong. Imports no torch."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from metriscope.evaluation.metrics import logged
from metriscope.reports.claims import Claim, Statement
from metriscope.reports.experiments.base import CARS, FEATURES, Data, Experiment
from metriscope.reports.sides import change, least, most

_NOISE = "dataset.label_noise"
_DBPM, _SOFT = "arXiv:2302.03357", "arXiv:2310.08069"
_LOSSES = {"infonce": "InfoNCE", "supcon": "SupCon"}
_NAMES = {"dbpm": "DBPM", "soft_negative": "soft negatives"}


def _group(loss: str, weighting: str, noise: float | None = 0.2) -> Mapping[str, Any]:
    return {_NOISE: noise, "loss.name": loss, "weighting.name": weighting}


def _gains(weighting: str) -> tuple[Statement, ...]:
    return tuple(
        Statement(
            f"{name} gains by {_NAMES[weighting]}",
            "test/map_at_r",
            least(_group(loss, weighting)),
            most(_group(loss, "none")),
        )
        for loss, name in _LOSSES.items()
    )


def _gains_more_than_on_true_labels(weighting: str) -> tuple[Statement, ...]:
    return tuple(
        Statement(
            f"{name} gains more by {_NAMES[weighting]} than on true labels",
            "test/map_at_r",
            change(_group(loss, weighting), _group(loss, "none")),
            change(_group(loss, weighting, None), _group(loss, "none", None)),
        )
        for loss, name in _LOSSES.items()
    )
