"""What an experiment is: settings that are swept, data sets, tables and claims. Imports no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from metriscope.evaluation.metrics import logged
from metriscope.reports.claims import Claim


@dataclass(frozen=True)
class Data:
    """A data set of an experiment.

    Attributes:
        title: name in tables.
        choices: choices of the config group ``dataset``, each with the folders below ``paths.data_dir`` of which it
            needs one (none if the data come with a package); the first available choice is taken.
        laptop: further overrides at ``scale=laptop``.
    """

    title: str
    choices: Mapping[str, Sequence[str]]
    laptop: Sequence[str] = ()

    def at_hand(self, data_dir: Path) -> str | None:
        """The first choice of which a folder exists; None without any."""
        found = (
            name
            for name, needs in self.choices.items()
            if not needs or any((data_dir / folder).is_dir() for folder in needs)
        )
        return next(found, None)


@dataclass(frozen=True)
class Experiment:
    """A study whose claims are judged.

    Attributes:
        title: subject of the comparison.
        source: citation of what is put to the test.
        config: choice of the config group ``experiment``.
        settings: what is swept, in the words of the command line: values by key or config group.
        baseline: the group that others are compared with, by its values of config keys.
        data: data sets of the study.
        tables: metrics by name of the table.
        claims: claims to judge.
        about: a paragraph on what a reader has to know of it.
    """

    title: str
    source: str
    config: str
    settings: Mapping[str, Sequence[str]]
    baseline: Mapping[str, str]
    data: Sequence[Data]
    tables: Mapping[str, Sequence[str]]
    claims: Sequence[Claim]
    about: str = ""

    @property
    def by(self) -> list[str]:
        """The config keys that separate its groups: data set and settings."""
        return ["dataset.name", *(key if "." in key else f"{key}.name" for key in self.settings)]


_FROZEN = ("backbone=efficientnet_lite0", "backbone.weights=imagenet", "backbone.freeze=true")
# Features of images that are always the same are computed once for all runs.
FEATURES = (*_FROZEN, "augmentation=none", "dataset.image_size=112")
"""Overrides for photographs: a head on features of a frozen trunk whose weights an installed package carries."""

CIFAR10_CHOICES = {"cifar10": ["cifar-10-batches-py"], "cifar10_jpg": ["cifar10-jpg"]}
SYNTHETIC = Data("synthetic", {"synthetic": []})
MNIST = Data("MNIST", {"mnist": ["MNIST/raw"]})
FASHION = Data("FashionMNIST", {"fashion_mnist": ["FashionMNIST/raw"]})
CIFAR10 = Data("CIFAR-10", CIFAR10_CHOICES, ("backbone=small_cnn",))
CUB = Data("CUB-200-2011", {"cub": ["CUB_200_2011"]}, FEATURES)
# One published half alone is enough there.
CARS = Data("CARS196", {"cars196": ["cars196", "stanford_cars"]}, (*FEATURES, "dataset.verify=false"))
TINY_IMAGENET = Data("Tiny-ImageNet", {"tiny_imagenet": ["tiny-imagenet-200"]}, FEATURES)

RETRIEVAL = logged("test", *(f"recall_at_{k}" for k in (1, 2, 4, 8)), "r_precision", "map_at_r")
_VARIANCE = ("intra", "inter", "inter_pairwise", "inter_spread", "ratio")
PAPER_TABLES = {
    "variance": logged("test", *(f"variance_{kind}" for kind in _VARIANCE)),
    "greediness": (
        *logged("course", "active_ratio", "active_ratio_pairs", "gradient_per_active_term", "early_loss_decay"),
        *logged("train", "loss_half_life"),
        *logged("course", "late_gradient", "early_compaction"),
    ),
    "classification": logged("test", "knn_accuracy", "linear_probe_accuracy"),
    "retrieval": RETRIEVAL,
}
"""Tables of the studies of variance and greediness."""
