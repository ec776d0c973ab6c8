"""From the composed config to the data."""

from typing import Any

from hydra.utils import get_method
from omegaconf import DictConfig, OmegaConf

from metriscope.data.augment import Augmentation
from metriscope.data.datamodule import Batching, DataModule
from metriscope.data.examples import Source
from metriscope.data.normalisation import normalisation
from metriscope.data.splits import split

_SHARED = {"_target_", "name", "protocol", "fold", "validation", "mean", "std", "num_workers"}


def build_data(cfg: DictConfig) -> DataModule:
    """Loads, splits and wraps the data set that ``cfg`` names.

    Reads the sections ``dataset``, ``sampler`` and ``augmentation``, ``evaluation.batch_size``, ``seed``, and
    ``backbone.mean`` and ``backbone.std``.
    Keys of ``dataset`` that are not shared by all data sets are the arguments of its ``_target_``.

    Raises:
        InputError: data that are missing or broken, or settings that do not fit them.
    """
    dataset: dict[str, Any] = OmegaConf.to_container(cfg.dataset, resolve=True)  # type: ignore[assignment]
    source: Source = get_method(dataset["_target_"])(**{k: v for k, v in dataset.items() if k not in _SHARED})
    splits = split(source, dataset["protocol"], dataset.get("fold", 0), dataset.get("validation"))
    sampler, augmentation = cfg.sampler, cfg.augmentation
    return DataModule(
        splits,
        Batching(
            sampler.name,
            sampler.batch_size,
            sampler.get("classes_per_batch"),
            sampler.get("samples_per_class"),
        ),
        Augmentation(augmentation.pad, augmentation.flip, *normalisation(cfg, splits.train.shape[0])),
        evaluation_batch_size=cfg.evaluation.batch_size,
        seed=cfg.seed,
        num_workers=dataset.get("num_workers", 0),
    )
