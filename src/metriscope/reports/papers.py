"""The studies of the papers: losses, data sets, tables and claims. Imports no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from metriscope.evaluation.metrics import logged
from metriscope.reports.claims import Claim, Statement


@dataclass(frozen=True)
class Data:
    """A data set of a study.

    Attributes:
        title: name in tables.
        choices: choices of the config group ``dataset``, each with the folder below ``paths.data_dir`` that it needs
            (None if the data come with a package); the first available choice is taken.
        laptop: further overrides at ``scale=laptop``.
    """

    title: str
    choices: Mapping[str, str | None]
    laptop: Sequence[str] = ()

    def at_hand(self, data_dir: Path) -> str | None:
        """The first choice whose folder exists; None without any."""
        found = (name for name, needs in self.choices.items() if needs is None or (data_dir / needs).is_dir())
        return next(found, None)


@dataclass(frozen=True)
class Paper:
    """A study of a paper.

    Attributes:
        title: subject of the comparison.
        source: citation of the paper.
        experiment: choice of the config group ``experiment``.
        losses: names of the losses; the first is the baseline.
        data: data sets of the study.
        tables: metrics by name of the table.
        claims: claims of the paper.
    """

    title: str
    source: str
    experiment: str
    losses: Sequence[str]
    data: Sequence[Data]
    tables: Mapping[str, Sequence[str]]
    claims: Sequence[Claim]


CIFAR10 = Data("CIFAR-10", {"cifar10": "cifar-10-batches-py", "cifar10_jpg": "cifar10-jpg"}, ("backbone=small_cnn",))
_PRETRAINED = ("backbone=efficientnet_lite0", "backbone.freeze=true")
CUB = Data("CUB-200-2011", {"cub": "CUB_200_2011"}, _PRETRAINED)
CARS = Data("CARS196", {"cars196": "cars196"}, _PRETRAINED)
FASHION = Data("FashionMNIST", {"fashion_mnist": "FashionMNIST/raw"})

_VARIANCE = ("intra", "inter", "inter_pairwise", "inter_spread", "ratio")
_TABLES = {
    "variance": logged("test", *(f"variance_{kind}" for kind in _VARIANCE)),
    "greediness": (
        *logged("course", "active_ratio", "active_ratio_pairs", "gradient_per_active_term", "early_loss_decay"),
        *logged("train", "loss_half_life"),
        *logged("course", "late_gradient", "early_compaction"),
    ),
    "classification": logged("test", "knn_accuracy", "linear_probe_accuracy"),
    "retrieval": logged("test", *(f"recall_at_{k}" for k in (1, 2, 4, 8)), "r_precision", "map_at_r"),
}


def _triplet_over_contrastive(text: str, metric: str, comparable: str | None = None) -> Statement:
    return Statement(text, metric, ("triplet",), ("contrastive",), comparable)


def _contrastive_over_triplet(text: str, metric: str) -> Statement:
    return Statement(text, metric, ("contrastive",), ("triplet",))


CONTRASTIVE_VS_TRIPLET = Paper(
    title="Contrastive against triplet loss",
    source="arXiv:2510.02161",
    experiment="paper/contrastive_vs_triplet",
    losses=("contrastive", "triplet"),
    data=(
        Data("synthetic", {"synthetic": None}),
        Data("MNIST", {"mnist": "MNIST/raw"}),
        FASHION,
        CIFAR10,
        CUB,
        CARS,
    ),
    tables=_TABLES,
    claims=(
        Claim(
            1,
            "arXiv:2510.02161",
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
            "arXiv:2510.02161",
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
            "arXiv:2510.02161",
            "Triplet retrieves and classifies better than contrastive on all data sets.",
            (
                _triplet_over_contrastive("triplet has the higher Recall@1", "test/recall_at_1"),
                _triplet_over_contrastive("triplet has the higher k-NN accuracy", "test/knn_accuracy"),
                _triplet_over_contrastive("triplet has the higher linear-probe accuracy", "test/linear_probe_accuracy"),
            ),
        ),
    ),
)

_SEVEN = ("contrastive", "triplet", "n_pair", "infonce", "arcface", "supcon", "center_contrastive")


def _over_the_rest(text: str, metric: str, *losses: str) -> Statement:
    return Statement(text, metric, losses, tuple(loss for loss in _SEVEN if loss not in losses))


VARIANCE_GREEDINESS = Paper(
    title="Variance and greediness of seven losses",
    source="arXiv:2601.21450",
    experiment="paper/variance_greediness",
    losses=_SEVEN,
    data=(CIFAR10, CARS, CUB, Data("Tiny-ImageNet", {"tiny_imagenet": "tiny-imagenet-200"}, _PRETRAINED), FASHION),
    tables=_TABLES,
    claims=(
        Claim(
            4,
            "arXiv:2601.21450",
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

PAPERS = {"contrastive_vs_triplet": CONTRASTIVE_VS_TRIPLET, "variance_greediness": VARIANCE_GREEDINESS}
