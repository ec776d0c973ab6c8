"""Several prototypes of each class against one. Imports no torch."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from metriscope.evaluation.metrics import logged
from metriscope.reports.claims import Claim, Statement
from metriscope.reports.experiments.base import CARS, RETRIEVAL, Experiment, features
from metriscope.reports.sides import least, most

_SOURCE = "arXiv:2402.02653"
_HERE = "this project"
_MANY = 4
_KEY = "loss.prototypes_per_class"
_UNSEEN = {"Mahalanobis distance": "test/ood_auroc_mahalanobis", "the nearest sample": "test/ood_auroc_nearest"}


def _palm(number: int) -> Mapping[str, Any]:
    return {"loss.name": "palm", _KEY: number}


_OTHERS = tuple({"loss.name": name} for name in ("center_contrastive", "soft_triple"))

PROTOTYPES = Experiment(
    title="Several prototypes of each class against one",
    source=f"{_SOURCE} and {_HERE}",
    config="prototypes",
    sweeps=(
        {"loss": ("palm",), _KEY: ("1", str(_MANY))},
        {"loss": ("center_contrastive", "soft_triple")},
    ),
    baseline={"loss.name": "center_contrastive"},
    data=(
        replace(
            CARS,
            laptop=("dataset.verify=false", "trainer.max_epochs=10"),
            words=(*features(112), "sampler.batch_size=128", "sampler.samples_per_class=4"),
        ),
    ),
    tables={
        "unseen": logged("test", "ood_auroc_mahalanobis", "ood_auroc_nearest"),
        "variance": logged("test", "variance_intra", "variance_inter", "variance_ratio"),
        "retrieval": RETRIEVAL,
    },
    claims=(
        Claim(1, _SOURCE, "Several prototypes of a class tell unseen classes better than one.",
              tuple(
                  Statement(f"PALM with {_MANY} prototypes has the higher AUROC by {name}", metric,
                            least(_palm(_MANY)), most(_palm(1)))
                  for name, metric in _UNSEEN.items()
              )),
        Claim(2, _HERE, "PALM keeps more variance within classes than one centre, or several that are learned.",
              (Statement("PALM has the higher intra-class variance", "test/variance_intra",
                         least(_palm(_MANY)), most(*_OTHERS)),)),
        Claim(3, _HERE, "It retrieves better than these.",
              (Statement("PALM has the higher Recall@1", "test/recall_at_1", least(_palm(_MANY)), most(*_OTHERS)),)),
    ),
    about="A linear head on features of a frozen EfficientNet-Lite0 with the ImageNet weights of an installed package, "
    "from images of 112 pixels; 32 classes x 4 samples. Unseen are the test classes, and samples of seen classes are "
    "every fifth training image of a class, on which the head was trained: AUROC compares the losses and says nothing "
    "by itself.",
)  # fmt: skip
