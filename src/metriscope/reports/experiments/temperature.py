"""The temperature of a softmax loss, with true and with wrong labels. Imports no torch."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from metriscope.evaluation.metrics import logged
from metriscope.reports.claims import Claim, Statement
from metriscope.reports.experiments.base import FASHION, Experiment
from metriscope.reports.sides import peak, slope, spread

_SOURCE = "arXiv:2012.09740"
_KEY, _NOISE = "loss.temperature", "dataset.label_noise"
_TEMPERATURES = (0.05, 0.1, 0.2, 0.5, 1.0)
_TRUE: Mapping[str, Any] = {_NOISE: None}
_WRONG: Mapping[str, Any] = {_NOISE: 0.2}


def _rises(text: str, metric: str) -> tuple[Statement, ...]:
    return tuple(
        Statement(f"{text}, {labels}", metric, slope(_KEY, _TEMPERATURES, where))
        for labels, where in (("true labels", _TRUE), ("20 % wrong labels", _WRONG))
    )


def _more_under_noise(text: str, metric: str, of: Any) -> Statement:
    return Statement(text, metric, of(_KEY, _TEMPERATURES, _WRONG), of(_KEY, _TEMPERATURES, _TRUE))


TEMPERATURE = Experiment(
    title="Temperature of SupCon",
    source=_SOURCE,
    config="temperature",
    sweeps=({_NOISE: ("null", "0.2"), _KEY: tuple(map(str, _TEMPERATURES))},),
    baseline={_KEY: "0.1"},
    data=(
        replace(
            FASHION,
            laptop=(
                "dataset.train_share=0.15",
                "dataset.validation=0.02",
                "trainer.max_epochs=6",
                "trainer.limit_train_batches=null",
            ),
        ),
    ),
    tables={
        "coverage": logged("test", "uniformity", "tolerance", "variance_intra", "variance_inter"),
        "retrieval": logged("test", "recall_at_1", "map_at_r", "r_precision"),
    },
    claims=(
        Claim(
            1,
            _SOURCE,
            "The higher the temperature, the less uniform the embedding (the metric rises towards 0) and the more "
            "tolerant of differences within a class.",
            (
                *_rises("uniformity rises with the temperature", "test/uniformity"),
                *_rises("tolerance rises with the temperature", "test/tolerance"),
            ),
        ),
        Claim(
            2,
            _SOURCE,
            "Wrong labels move the best temperature up.",
            (
                _more_under_noise("the temperature of the best MAP@R is higher", "test/map_at_r", peak),
                _more_under_noise("the temperature of the best Recall@1 is higher", "test/recall_at_1", peak),
            ),
        ),
        Claim(
            3,
            _SOURCE,
            "With true labels retrieval hardly depends on the temperature, since samples of a class are no negatives; "
            "with wrong ones it does.",
            (
                _more_under_noise("MAP@R depends more on the temperature", "test/map_at_r", spread),
                _more_under_noise("Recall@1 depends more on the temperature", "test/recall_at_1", spread),
            ),
        ),
    ),
    along=_KEY,
    about="Labels are wrong in training alone: 20 % of the training samples get the label of another class, drawn by "
    "the seed, so that all temperatures see the same ones.",
)
