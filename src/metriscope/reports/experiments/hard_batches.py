"""Batches of near classes against batches of any classes. Imports no torch."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from metriscope.reports.claims import Claim, Statement
from metriscope.reports.experiments.base import CARS, RETRIEVAL, Experiment, features
from metriscope.reports.sides import change, least, most

_SOURCE = "arXiv:2303.11851"
_SMOOTHING = 0.1
_MEASURES = {"MAP@R": "test/map_at_r", "Recall@1": "test/recall_at_1"}


def _group(sampler: str, smoothing: float | None) -> Mapping[str, Any]:
    return {"sampler.name": sampler, "loss.smoothing": smoothing}


def _near_is_better(smoothing: float | None, words: str) -> tuple[Statement, ...]:
    near, usual = _group("similar_classes", smoothing), _group("class_balanced", smoothing)
    return tuple(
        Statement(f"near classes are above any classes in {name}, {words} smoothing", metric, least(near), most(usual))
        for name, metric in _MEASURES.items()
    )


def _gain(sampler: str) -> Any:
    return change(_group(sampler, _SMOOTHING), _group(sampler, None))


HARD_BATCHES = Experiment(
    title="Batches of near classes against batches of any classes",
    source=_SOURCE,
    config="hard_batches",
    sweeps=({"sampler": ("class_balanced", "similar_classes"), "loss.smoothing": ("null", str(_SMOOTHING))},),
    baseline={"sampler.name": "class_balanced"},
    data=(
        replace(
            CARS,
            laptop=("dataset.verify=false", "trainer.max_epochs=10"),
            words=(*features(112), "sampler.batch_size=64", "sampler.samples_per_class=4"),
        ),
    ),
    tables={"retrieval": RETRIEVAL},
    claims=(
        Claim(1, _SOURCE, "Batches of near classes help retrieval.",
              (*_near_is_better(None, "without"), *_near_is_better(_SMOOTHING, "with"))),
        Claim(2, _SOURCE, "Label smoothing gains more in batches of near classes.",
              tuple(
                  Statement(f"the gain in {name} is larger", metric, _gain("similar_classes"), _gain("class_balanced"))
                  for name, metric in _MEASURES.items()
              )),
    ),
    about="A linear head on features of a frozen EfficientNet-Lite0 with the ImageNet weights of an installed package, "
    "from images of 112 pixels; 16 classes x 4 samples. The first epoch has batches of any classes, then a table of "
    "near classes is made anew from the embeddings of the training part before every epoch.",
)  # fmt: skip
