"""Builds the data module of a run from sections of its config."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import torch

from metriscope.build.normalisation import normalisation
from metriscope.config.sections import SECTIONS
from metriscope.data.batching import Batching
from metriscope.data.datamodule import DataModule
from metriscope.data.distractors import load_distractors
from metriscope.data.inputs.augment import Augmentation
from metriscope.data.inputs.decoded import DecodeOnce
from metriscope.data.inputs.features import EmbedOnce
from metriscope.data.inputs.images import ImageFiles, Squashed, common_size
from metriscope.data.splits import Splits
from metriscope.errors import InputError
from metriscope.models.shapes import of_pairs
from metriscope.parts import instantiate

log = logging.getLogger(__name__)

_SAMPLE = 8  # images that are looked at before training


def build_data(
    splits: Splits,
    dataset: Mapping[str, Any],
    sampler: Mapping[str, Any],
    augmentation: Mapping[str, Any],
    backbone: Mapping[str, Any] | None = None,
    *,
    evaluation_batch_size: int,
    cache_dir: Path,
    seed: int,
    trains: bool = True,
    convert_late: bool = False,
    distractors: str | None = None,
) -> DataModule:
    """The data module, which turns the parts of a data set into batches.

    Image files that are decoded once are decoded now, unless the features of a frozen ``backbone`` are cached: then
    the images may not be needed. Without training, those of the test part alone are: others are decoded when needed.

    Raises:
        InputError: the data are missing or broken, or the settings do not fit them.
    """
    mean, std = normalisation(dataset, backbone, splits.train.shape[0])
    augment: Augmentation = instantiate(
        SECTIONS["augmentation"].arguments(augmentation), "augmentation", mean=mean, std=std
    )
    if of_pairs(splits.train.shape):
        _check_for_pairs(augment, backbone or {}, distractors)
    data = DataModule(
        splits,
        Batching(SECTIONS["sampler"].arguments(sampler), sampler.get("views") or 1, sampler.get("labels") == "image"),
        augment,
        evaluation_batch_size=evaluation_batch_size,
        seed=seed,
        num_workers=dataset.get("num_workers", 0),
        decoding=_decoding(splits, augment, dataset, cache_dir / "images"),
        embedding=_embedding(backbone, augment, cache_dir / "features", of_pairs(splits.train.shape)),
        convert_late=convert_late,
        distractors=None if distractors is None else load_distractors(distractors, splits),
    )
    if data.embedding is None and not trains:
        data.serving.images("test")
    elif data.embedding is None:
        data.decode()
        _warn_of_one_colour(data)
    return data


def _check_for_pairs(augment: Augmentation, backbone: Mapping[str, Any], distractors: str | None) -> None:
    """Refuse what is for images or single vectors."""
    if augment.is_own:
        raise InputError(
            f"the augmentation {type(augment).__name__} is given one image or vector, and the data are pairs: set "
            "augmentation=none"
        )
    if backbone.get("cache_features") is True:
        raise InputError("backbone.cache_features=true: features of pairs are not kept; leave it at auto")
    if distractors is not None:
        raise InputError("evaluation.distractors are images, and the data are pairs of vectors: leave it null")


def _warn_of_one_colour(data: DataModule) -> None:
    """Warn where most images of a sample have one colour throughout, as files of an unusual kind may decode to."""
    files = data.splits.train.inputs
    if not isinstance(files, ImageFiles):
        return
    images = data.serving.images("train", training=True)
    places = torch.linspace(0, len(files) - 1, min(_SAMPLE, len(files))).long()
    assert not isinstance(images, torch.Tensor)
    pixels = (images.fetch(places[i : i + 1]) for i in range(len(places)))
    plain = [bool((x == x[..., :1, :1]).all()) for x in (p.pixels if isinstance(p, Squashed) else p for p in pixels)]
    if 2 * sum(plain) > len(plain):
        log.warning(
            "%d of %d training images that were looked at have one colour throughout, such as %s: do they look so?",
            sum(plain),
            len(plain),
            files.paths[int(places[plain.index(True)])],
        )


def _decoding(
    splits: Splits, augmentation: Augmentation, dataset: Mapping[str, Any], folder: Path
) -> DecodeOnce | None:
    """How image files are decoded; None if the data are not image files."""
    parts = [part for part in (splits.train, splits.validation, splits.test) if part is not None]
    files = [part.inputs for part in parts if isinstance(part.inputs, ImageFiles)]
    if not files:
        return None
    images = sum(map(len, files))
    pixels = max(prod((replace(files[0], transform=transform)).shape) for transform in augmentation.stored)
    fits = images * pixels <= dataset.get("memory_limit_mb", 0) * 2**20
    decoding = DecodeOnce(dataset.get("cache", "none"), folder, in_memory=fits)
    if not decoding.decodes and augmentation.stored[1] is None and files[0].size is None:
        # Fails here rather than in a dataloader worker.
        common_size([item for part in files for item in part.items], files[0].exif)
    return decoding


def _embedding(
    backbone: Mapping[str, Any] | None, augmentation: Augmentation, folder: Path, paired: bool
) -> EmbedOnce | None:
    """The cache of a frozen trunk's features; None if the trunk runs on every batch."""
    cached = "auto" if backbone is None else backbone.get("cache_features", "auto")
    if backbone is None or not backbone["freeze"] or cached is False or paired:
        return None
    if augmentation.width and augmentation.views is None:
        if cached is True:
            raise InputError("backbone.cache_features=true needs inputs that repeat: this augmentation draws anew")
        return None
    return EmbedOnce(folder)
