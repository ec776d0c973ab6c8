"""Hyperbolic distance against the sphere, over the size of embeddings. Imports no torch."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from metriscope.evaluation.metrics import logged
from metriscope.reports.claims import Claim, Statement
from metriscope.reports.experiments.base import CARS, RETRIEVAL, Data, Experiment, features
from metriscope.reports.sides import gain, least, most

_SOURCE = "arXiv:2203.10833"
_SIZES = (2, 4, 8, 16)
_MEASURES = {"MAP@R": "test/map_at_r", "Recall@1": "test/recall_at_1"}
_WORDS = tuple(str(size) for size in _SIZES)


def _group(distance: str, size: int) -> Mapping[str, Any]:
    return {"distance.name": distance, "head.size": size}


def _beside(size: int) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    return [_group("hyperbolic", size)], [_group("cosine", size)]


HYPERBOLIC = Experiment(
    title="Hyperbolic distance against the sphere",
    source=_SOURCE,
    config="hyperbolic",
    sweeps=(
        {"distance": ("cosine",), "loss.temperature": ("0.1",), "head.size": _WORDS},
        {
            "distance": ("hyperbolic",),
            "head.normalize": ("false",),
            "loss.temperature": ("0.2",),
            "evaluation.metrics.clipped_share": ("true",),
            "evaluation.metrics.mean_radius": ("true",),
            "head.size": _WORDS,
        },
    ),
    baseline={"distance.name": "cosine"},
    data=(
        Data(
            "synthetic",
            {"synthetic": []},
            ("trainer.max_epochs=10",),
            (
                "dataset.classes=64",
                "dataset.superclasses=8",
                "dataset.inter_within=0.3",
                "dataset.per_class=80",
                "dataset.intra=1.0",
            ),
        ),
        replace(CARS, laptop=("dataset.verify=false", "trainer.max_epochs=10"), words=features(112)),
    ),
    tables={"retrieval": RETRIEVAL, "geometry": logged("test", "clipped_share", "mean_radius")},
    claims=(
        Claim(1, _SOURCE, "Embeddings of few numbers retrieve better by hyperbolic distance than on the sphere.",
              tuple(
                  Statement(f"{name} by hyperbolic distance above that on the sphere, {size} numbers", metric,
                            least(_group("hyperbolic", size)), most(_group("cosine", size)))
                  for size in _SIZES for name, metric in _MEASURES.items()
              )),
        Claim(2, _SOURCE, "The gap grows as embeddings get smaller.",
              tuple(
                  Statement(f"gap in {name} with {_SIZES[0]} numbers above that with {_SIZES[-1]}", metric,
                            gain(*_beside(_SIZES[0])), gain(*_beside(_SIZES[-1])))
                  for name, metric in _MEASURES.items()
              )),
    ),
    about="InfoNCE with temperature 0.1 on the sphere, and 0.2, curvature 0.1 and clip 2.3 otherwise, as in the paper; "
    "nothing else is taken from it, and nothing tuned. The sides differ in more than curvature: an embedding that is "
    "not normalised has one direction more than one on the sphere, which counts most where there are two. Synthetic "
    "data are 64 Gaussian classes in 8 superclasses with an MLP, the same classes in training and test; of CARS196 a "
    "linear head learns on features of a frozen EfficientNet-Lite0 with the ImageNet weights of an installed package, "
    "from images of 112 pixels. Where all embeddings are clipped, hyperbolic distances rank as those on the sphere do: "
    "the table of the geometry says how many are.",
)  # fmt: skip
