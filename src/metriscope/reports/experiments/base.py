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
        choices: choices of the config group ``dataset``, each with the folders or files below ``paths.data_dir`` of
            which it needs one (none if the data come with a package); the first available choice is taken.
        laptop: further overrides at ``scale=laptop``.
        words: further overrides at every scale.
        tuned: further overrides at ``scale=laptop`` where losses are tuned, in place of ``laptop``; None: the same. A
            search is dozens of runs, so these are short.
    """

    title: str
    choices: Mapping[str, Sequence[str]]
    laptop: Sequence[str] = ()
    words: Sequence[str] = ()
    tuned: Sequence[str] | None = None

    def overrides(self, laptop: bool, tuned: bool = False) -> tuple[str, ...]:
        """What its runs take beside the settings of the experiment."""
        short = self.laptop if self.tuned is None or not tuned else self.tuned
        return (*self.words, *(short if laptop else ()))

    @property
    def missing(self) -> str:
        """A line that says that it is not at hand, and what it needs."""
        folders = " or ".join(folder for needs in self.choices.values() for folder in needs)
        return f"{self.title} is not at hand: no {folders} in paths.data_dir"

    def at_hand(self, data_dir: Path) -> str | None:
        """The first choice of which a folder or file exists; None without any."""
        found = (
            name
            for name, needs in self.choices.items()
            if not needs or any((data_dir / folder).exists() for folder in needs)
        )
        return next(found, None)


@dataclass(frozen=True)
class Experiment:
    """A study whose claims are judged.

    Attributes:
        title: subject of the comparison.
        source: citation of what is put to the test.
        config: choice of the config group ``experiment``.
        sweeps: what is swept, in the words of the command line: for each sweep, values by key or config group.
        baseline: the group that others are compared with, by its values of config keys.
        data: data sets of the study.
        tables: metrics by name of the table.
        claims: claims to judge.
        along: a swept setting with numbers as values, which a figure shows the metrics along.
        about: a paragraph on what a reader has to know of it.
    """

    title: str
    source: str
    config: str
    sweeps: Sequence[Mapping[str, Sequence[str]]]
    baseline: Mapping[str, str]
    data: Sequence[Data]
    tables: Mapping[str, Sequence[str]]
    claims: Sequence[Claim]
    along: str | None = None
    about: str = ""

    @property
    def by(self) -> list[str]:
        """The config keys that separate its groups: data set and settings."""
        return ["dataset.name", *(key if "." in key else f"{key}.name" for key in self.swept)]

    @property
    def losses(self) -> Sequence[str]:
        """What is compared if losses alone are, so that a search may set all else of them; else nothing."""
        alone = len(self.sweeps) == 1 and self.sweeps[0].keys() == {"loss"}
        return self.sweeps[0]["loss"] if alone else ()

    @property
    def swept(self) -> dict[str, list[str]]:
        """All values of what is swept, over all sweeps."""
        found: dict[str, list[str]] = {}
        for sweep in self.sweeps:
            for key, values in sweep.items():
                found[key] = list(dict.fromkeys([*found.get(key, []), *values]))
        return found


def features(side: int) -> tuple[str, ...]:
    """Overrides for a head on features of images of this side, computed once for all runs.

    The weights of the frozen trunk come with an installed package.
    """
    trunk = ("backbone=efficientnet_lite0", "backbone.weights=imagenet", "backbone.freeze=true")
    return (*trunk, "augmentation=none", f"dataset.image_size={side}")


SYNTHETIC = Data("synthetic", {"synthetic": []})
# A fold of a search in seconds on one core: 100 steps, with a look at the held-out part after every tenth.
_SHORT = ("dataset.train_share=0.1", "trainer.limit_train_batches=10", "trainer.max_epochs=10")
MNIST = Data("MNIST", {"mnist": ["MNIST/raw"]}, tuned=_SHORT)
FASHION = Data("FashionMNIST", {"fashion_mnist": ["FashionMNIST/raw"]}, tuned=_SHORT)
CIFAR10 = Data(
    "CIFAR-10",
    {"cifar10": ["cifar-10-batches-py"], "cifar10_jpg": ["cifar10-jpg"]},
    ("backbone=small_cnn",),
    tuned=(*features(64), "dataset.train_share=0.2", "trainer.max_epochs=20"),
)
CUB = Data("CUB-200-2011", {"cub": ["CUB_200_2011"]}, features(112))
# One published half alone is enough there.
CARS = Data("CARS196", {"cars196": ["cars196", "stanford_cars"]}, (*features(112), "dataset.verify=false"))
TINY_IMAGENET = Data("Tiny-ImageNet", {"tiny_imagenet": ["tiny-imagenet-200"]}, features(112))

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
