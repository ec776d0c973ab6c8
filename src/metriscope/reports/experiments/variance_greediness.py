"""The study of arXiv:2601.21450: variance and greediness of seven losses. Imports no torch."""

from dataclasses import replace

from metriscope.reports.claims import Claim, Statement
from metriscope.reports.experiments.base import (
    CARS,
    CIFAR10,
    CUB,
    FASHION,
    PAPER_TABLES,
    TINY_IMAGENET,
    Experiment,
)
from metriscope.reports.sides import least, most

_SOURCE = "arXiv:2601.21450"
_SEVEN = ("contrastive", "triplet", "n_pair", "infonce", "arcface", "supcon", "center_contrastive")


def _over_the_rest(text: str, metric: str, *losses: str) -> Statement:
    rest = [{"loss.name": loss} for loss in _SEVEN if loss not in losses]
    return Statement(text, metric, least(*({"loss.name": loss} for loss in losses)), most(*rest))


# A small trunk from random values learns; the weights that the experiment names are those of its large trunk.
_SMALL = ("backbone=small_cnn", "backbone.weights=null", "backbone.freeze=false")

VARIANCE_GREEDINESS = Experiment(
    title="Variance and greediness of seven losses",
    source=_SOURCE,
    config="paper/variance_greediness",
    sweeps=({"loss": _SEVEN},),
    baseline={"loss.name": "contrastive"},
    data=(
        replace(CIFAR10, laptop=_SMALL),
        CARS,
        CUB,
        TINY_IMAGENET,
        replace(FASHION, laptop=_SMALL),
    ),
    tables=PAPER_TABLES,
    claims=(
        Claim(
            4,
            _SOURCE,
            "Triplet and SCL keep the highest within-class variance; contrastive and InfoNCE compact fastest; N-pair "
            "has a large mean separation with uneven spacing.",
            (
                _over_the_rest(
                    "triplet and supcon keep the most within-class variance", "test/variance_intra", "triplet", "supcon"
                ),
                _over_the_rest(
                    "contrastive and infonce compact fastest", "course/early_compaction", "contrastive", "infonce"
                ),
                _over_the_rest("n_pair has the largest mean separation", "test/variance_inter_pairwise", "n_pair"),
                _over_the_rest("n_pair spaces classes the least evenly", "test/variance_inter_spread", "n_pair"),
            ),
        ),
    ),
)
