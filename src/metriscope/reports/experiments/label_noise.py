"""Weightings against none where training labels are wrong. Imports no torch."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from metriscope.evaluation.metrics import logged
from metriscope.reports.claims import Claim, Statement
from metriscope.reports.experiments.base import CARS, Data, Experiment, features
from metriscope.reports.sides import change, least, most

_DBPM, _SOFT = "arXiv:2302.03357", "arXiv:2310.08069"
_NOISE, _SHARE = "dataset.label_noise", 0.2
_LOSSES = {"infonce": "InfoNCE", "supcon": "SupCon"}
# DBPM's default, and one that 20 % of wrong labels can reach: where they have one loss and all others another, theirs
# lies two standard deviations above the mean.
_DEFAULT, _REACHED = 3, 1


def _group(loss: str, weighting: str, noise: float | None, **more: Any) -> Mapping[str, Any]:
    own = {f"weighting.{key}": value for key, value in more.items()}
    return {_NOISE: noise, "loss.name": loss, "weighting.name": weighting, **own}


def _gains(loss: str, by: str, weighting: str, **more: Any) -> Statement:
    weighted, plain = _group(loss, weighting, _SHARE, **more), _group(loss, "none", _SHARE)
    return Statement(f"{_LOSSES[loss]} gains by {by}", "test/map_at_r", least(weighted), most(plain))


def _gains_more(loss: str, by: str, weighting: str, **more: Any) -> Statement:
    noisy, true = (
        change(_group(loss, weighting, noise, **more), _group(loss, "none", noise)) for noise in (_SHARE, None)
    )
    return Statement(f"{_LOSSES[loss]} gains more by {by} than with true labels", "test/map_at_r", noisy, true)


def _suspects(text: str, metric: str, above: float) -> tuple[Statement, ...]:
    return tuple(
        Statement(f"{text}: {name}, threshold {hard}", metric, least(_group(loss, "dbpm", _SHARE, hard=hard)), above)
        for loss, name in _LOSSES.items()
        for hard in (_DEFAULT, _REACHED)
    )


_LAPTOP = ("dataset.train_share=0.1", "dataset.validation=0.05", "trainer.max_epochs=10")
_NOISES = ("null", str(_SHARE))

LABEL_NOISE = Experiment(
    title="Weightings where training labels are wrong",
    source=f"{_DBPM}, {_SOFT}",
    config="label_noise",
    sweeps=(
        {_NOISE: _NOISES, "loss": tuple(_LOSSES), "weighting": ("none",)},
        {
            _NOISE: (str(_SHARE),),
            "loss": tuple(_LOSSES),
            "weighting": ("dbpm",),
            "weighting.hard": (str(_DEFAULT), str(_REACHED)),
        },
        {_NOISE: ("null",), "loss": tuple(_LOSSES), "weighting": ("dbpm",), "weighting.hard": (str(_REACHED),)},
        {_NOISE: _NOISES, "loss": ("infonce",), "weighting": ("soft_negative",)},
    ),
    baseline={"weighting.name": "none"},
    data=(
        Data("CIFAR-10 (JPEG)", {"cifar10_jpg": ["cifar10-jpg"]}, (*features(64), *_LAPTOP)),
        replace(CARS, laptop=(*CARS.laptop, "trainer.max_epochs=10")),
    ),
    tables={
        "retrieval": logged("test", "map_at_r", "recall_at_1", "r_precision"),
        "suspects": logged("train", "suspects", "suspects_precision", "suspects_recall"),
    },
    claims=(
        Claim(
            1,
            _DBPM,
            "Where 20 % of the training labels are wrong, a loss gains in MAP@R by DBPM.",
            tuple(
                _gains(loss, f"DBPM, threshold {hard}", "dbpm", hard=hard)
                for loss in _LOSSES
                for hard in (_DEFAULT, _REACHED)
            ),
        ),
        Claim(
            2,
            _DBPM,
            "DBPM gains more where labels are wrong than where all are true.",
            tuple(_gains_more(loss, f"DBPM, threshold {_REACHED}", "dbpm", hard=_REACHED) for loss in _LOSSES),
        ),
        Claim(
            3,
            _SOFT,
            "Soft negatives gain in MAP@R where labels are wrong, and more than where all are true.",
            (
                _gains("infonce", "soft negatives", "soft_negative"),
                _gains_more("infonce", "soft negatives", "soft_negative"),
            ),
        ),
        Claim(
            4,
            _DBPM,
            "Samples that DBPM finds too hard have wrong labels more often than one in five.",
            _suspects("more than 20 % of the suspected labels are wrong", "train/suspects_precision", _SHARE),
        ),
    ),
    about="A linear head on features of a frozen EfficientNet-Lite0 with the ImageNet weights of an installed package, "
    "from images of 64 (CIFAR-10) and 112 pixels (CARS196). 20 % of the training samples get the label of another "
    "class, drawn by the seed, so that all weightings see the same ones; the epoch is chosen on samples with true "
    "labels. A threshold of DBPM is in standard deviations above the mean loss; 3 is its default.",
)
