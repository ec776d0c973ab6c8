"""From the composed config to the data."""

from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from metriscope.configs import plain
from metriscope.data.augment import Augmentation
from metriscope.data.datamodule import Batching, DataModule
from metriscope.data.decoded import DecodeOnce
from metriscope.data.features import EmbedOnce
from metriscope.data.images import ImageFiles, common_size
from metriscope.data.loading import load_splits
from metriscope.data.normalisation import normalisation
from metriscope.data.splits import Splits


def build_data(cfg: DictConfig, splits: Splits | None = None) -> DataModule:
    """Loads, splits and wraps the data set that ``cfg`` names.

    Reads the sections ``dataset``, ``sampler``, ``augmentation`` and ``backbone``, ``evaluation.batch_size``,
    ``paths.cache_dir`` and ``seed``. Image files that are decoded once are decoded now, unless a frozen trunk embeds
    once: it may find that it has done so before.

    Args:
        cfg: the config.
        splits: what :func:`load_splits` makes of the section ``dataset``, where that is known.

    Raises:
        InputError: data that are missing or broken, or settings that do not fit them.
    """
    dataset = plain(cfg.dataset)
    splits = splits or load_splits(dataset)
    options = plain(cfg.augmentation)
    del options["name"]
    mean, std = normalisation(cfg, splits.train.shape[0])
    augmentation = Augmentation(**options, mean=mean, std=std)
    folder = Path(cfg.paths.cache_dir)
    sampler = cfg.sampler
    data = DataModule(
        splits,
        Batching(
            sampler.name,
            sampler.batch_size,
            sampler.get("classes_per_batch"),
            sampler.get("samples_per_class"),
        ),
        augmentation,
        evaluation_batch_size=cfg.evaluation.batch_size,
        seed=cfg.seed,
        num_workers=dataset.get("num_workers", 0),
        decoding=_decoding(splits, augmentation, dataset, folder / "images"),
        embedding=_embedding(cfg.get("backbone"), augmentation, folder / "features"),
    )
    if data.embedding is None:
        data.decode()
    return data


def _decoding(splits: Splits, augmentation: Augmentation, dataset: dict[str, Any], folder: Path) -> DecodeOnce | None:
    """What to do with image files; None where there are none."""
    parts = [part for part in (splits.train, splits.validation, splits.test) if part is not None]
    files = [part.inputs for part in parts if isinstance(part.inputs, ImageFiles)]
    if not files:
        return None
    images = sum(map(len, files))
    pixels = max(prod((replace(files[0], transform=transform)).shape) for transform in augmentation.stored)
    fits = images * pixels <= dataset.get("memory_limit_mb", 0) * 2**20
    decoding = DecodeOnce(dataset.get("cache", "none"), folder, in_memory=fits)
    if not decoding.decodes and augmentation.stored[1] is None and files[0].size is None:
        common_size([path for part in files for path in part.paths])  # no worker should be the first to find out
    return decoding


def _embedding(backbone: DictConfig | None, augmentation: Augmentation, folder: Path) -> EmbedOnce | None:
    """Where a frozen trunk's features are kept; None where the trunk runs on every batch."""
    if backbone is None or not backbone.freeze or backbone.get("cache_features", "auto") is False:
        return None
    if augmentation.width and augmentation.views is None:
        return None
    return EmbedOnce(folder)
