"""The study of arXiv:2510.02161: contrastive against triplet loss. Imports no torch."""

from metriscope.reports.claims import Claim, Statement
from metriscope.reports.experiments.base import CARS, CIFAR10, CUB, FASHION, MNIST, PAPER_TABLES, SYNTHETIC, Experiment
from metriscope.reports.sides import least, most

_SOURCE = "arXiv:2510.02161"
_CONTRASTIVE, _TRIPLET = {"loss.name": "contrastive"}, {"loss.name": "triplet"}


def _triplet_over_contrastive(text: str, metric: str, comparable: str | None = None) -> Statement:
    return Statement(text, metric, least(_TRIPLET), most(_CONTRASTIVE), comparable)


def _contrastive_over_triplet(text: str, metric: str) -> Statement:
    return Statement(text, metric, least(_CONTRASTIVE), most(_TRIPLET))


CONTRASTIVE_VS_TRIPLET = Experiment(
    title="Contrastive against triplet loss",
    source=_SOURCE,
    config="paper/contrastive_vs_triplet",
    sweeps=({"loss": ("contrastive", "triplet")},),
    baseline={"loss.name": "contrastive"},
    data=(SYNTHETIC, MNIST, FASHION, CIFAR10, CUB, CARS),
    tables=PAPER_TABLES,
    claims=(
        Claim(
            1,
            _SOURCE,
            "Triplet keeps more intra-class and inter-class variance than contrastive at comparable accuracy.",
            (
                _triplet_over_contrastive(
                    "triplet keeps more intra-class variance", "test/variance_intra", "test/knn_accuracy"
                ),
                _triplet_over_contrastive(
                    "triplet keeps more inter-class variance", "test/variance_inter", "test/knn_accuracy"
                ),
            ),
        ),
        Claim(
            2,
            _SOURCE,
            "Contrastive makes many small updates and its loss decays fast early on; triplet makes fewer but larger "
            "ones that go on later.",
            (
                _contrastive_over_triplet("contrastive has the higher active ratio", "course/active_ratio"),
                _triplet_over_contrastive(
                    "an active term of triplet has the larger gradient", "course/gradient_per_active_term"
                ),
                _contrastive_over_triplet("the loss of contrastive decays faster early on", "course/early_loss_decay"),
                _triplet_over_contrastive("the gradient of triplet keeps more of its size", "course/late_gradient"),
            ),
        ),
        Claim(
            3,
            _SOURCE,
            "Triplet retrieves and classifies better than contrastive on all data sets.",
            (
                _triplet_over_contrastive("triplet has the higher Recall@1", "test/recall_at_1"),
                _triplet_over_contrastive("triplet has the higher k-NN accuracy", "test/knn_accuracy"),
                _triplet_over_contrastive("triplet has the higher linear-probe accuracy", "test/linear_probe_accuracy"),
            ),
        ),
    ),
)
