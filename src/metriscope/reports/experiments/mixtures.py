"""Mixtures of samples against samples alone, and against a lower temperature. Imports no torch."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from metriscope.reports.claims import Claim, Statement
from metriscope.reports.experiments.base import CARS, RETRIEVAL, Data, Experiment, features
from metriscope.reports.sides import least, most

_MOCHI, _METRIX = "arXiv:2010.01028", "arXiv:2106.04990"
_TEMPERATURE, _LOWER = 0.1, 0.05
_MEASURES = {"MAP@R": "test/map_at_r", "Recall@1": "test/recall_at_1"}


def _group(mixture: str, temperature: float = _TEMPERATURE) -> Mapping[str, Any]:
    return {"mixture.name": mixture, "loss.temperature": temperature}


def _above(text: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[Statement, ...]:
    return tuple(Statement(f"{text} in {name}", metric, least(one), most(other)) for name, metric in _MEASURES.items())


_SHORT = ("trainer.max_epochs=10",)

MIXTURES = Experiment(
    title="Mixtures of samples against samples alone",
    source=f"{_MOCHI}, {_METRIX}",
    config="mixtures",
    sweeps=(
        {"loss.temperature": (str(_TEMPERATURE),), "mixture": ("none", "mochi", "metrix")},
        {"loss.temperature": (str(_LOWER),), "mixture": ("none",)},
    ),
    baseline={"mixture.name": "none"},
    data=(
        replace(CARS, laptop=("dataset.verify=false", *_SHORT), words=features(112)),
        Data(
            "CIFAR-10 (JPEG)",
            {"cifar10_jpg": ["cifar10-jpg"]},
            ("dataset.train_share=0.2", *_SHORT),
            (*features(64), "dataset.protocol=class_disjoint"),
        ),
    ),
    tables={"retrieval": RETRIEVAL},
    claims=(
        Claim(1, _MOCHI, "Mixtures of hard negatives (MoCHi) help retrieval.",
              _above("InfoNCE gains by MoCHi", _group("mochi"), _group("none"))),
        Claim(2, _METRIX, "Mixtures of positives and negatives (Metrix) help retrieval.",
              _above("InfoNCE gains by Metrix", _group("metrix"), _group("none"))),
        Claim(3, f"{_MOCHI}, {_METRIX}",
              "Mixtures help more than half the temperature, which makes negatives harder, too.",
              (*_above("MoCHi is above half the temperature", _group("mochi"), _group("none", _LOWER)),
               *_above("Metrix is above half the temperature", _group("metrix"), _group("none", _LOWER)))),
    ),
    about="A linear head on features of a frozen EfficientNet-Lite0 with the ImageNet weights of an installed package, "
    "from images of 112 (CARS196) and 64 pixels (CIFAR-10). Test classes are others than training classes, on CIFAR-10 "
    "five and five. All settings but those compared are the same, so none is tuned.",
)  # fmt: skip
