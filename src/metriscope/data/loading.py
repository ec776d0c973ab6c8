"""Loads and splits the data set that the section ``dataset`` of a config describes."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from metriscope.config.sections import SECTIONS
from metriscope.data.examples import Examples, Source
from metriscope.data.inputs.images import ImageFiles
from metriscope.data.label_noise import label_noise
from metriscope.data.label_sets import label_sets, labelled
from metriscope.data.share import with_share_of_training
from metriscope.data.splits import Splits, split
from metriscope.errors import InputError
from metriscope.parts import instantiate


def load_splits(dataset: Mapping[str, Any], seed: int | None = None, *, share_first: bool = False) -> Splits:
    """Loads and splits a data set; opens no image file.

    Keys that only this data set has are the arguments of its ``_target_``.

    Args:
        dataset: the section of the config.
        seed: of the run, for label noise; None leaves all labels as they are.
        share_first: whether ``train_share`` is taken of the whole training half, so that the held-out part is one of
            the share; else of what is left without the held-out part, which stays whole.

    Raises:
        InputError: the data are missing or broken, or cannot be split in this way.
    """
    source: Source = instantiate(SECTIONS["dataset"].arguments(dataset), "dataset")
    limit_mb = dataset.get("image_limit_mb")
    if limit_mb is not None:
        parts = {name: getattr(source, name) for name in ("train", "validation", "test")}
        limited: dict[str, Any] = {name: _limited(part, limit_mb) for name, part in parts.items() if part is not None}
        source = replace(source, **limited)
    protocol, share = dataset["protocol"], dataset.get("train_share")
    held_out = dataset.get("fold", 0), dataset.get("validation")
    if share_first and share is not None:
        whole = with_share_of_training(split(source, protocol, validation=0), share)
        source, share = Source(whole.train, whole.test, whole.queries, incomplete=whole.incomplete), None
    splits = split(source, protocol, *held_out)
    if len(splits.test) == 0:
        raise InputError(
            f"{len(source.train)} examples in {source.train.num_classes} classes leave none to test: bring more of "
            "each class, or a test part"
        )
    splits = with_label_sets(
        with_share_of_training(splits, share), dataset.get("train_labels"), dataset.get("test_labels")
    )
    noise = dataset.get("label_noise")
    if seed is None or not noise:
        return splits
    return replace(splits, noise=label_noise(splits.train, noise, seed, dataset.get("label_noise_pairs")))


def with_label_sets(splits: Splits, trained: str | None, evaluated: str | None) -> Splits:
    """The splits with the labels that are chosen; arguments and errors as of :func:`label_sets`."""
    sets = label_sets(splits.parts, trained, evaluated)
    if sets is None:
        return splits
    validation = None if splits.validation is None else labelled(splits.validation, sets.evaluated)
    return replace(
        splits,
        train=labelled(splits.train, sets.trained),
        validation=validation,
        test=labelled(splits.test, sets.evaluated),
        sets=sets,
    )


def _limited(part: Examples, limit_mb: float) -> Examples:
    """The same part, of which no image may take more memory than this, decoded."""
    if not isinstance(part.inputs, ImageFiles):
        return part
    return replace(part, inputs=replace(part.inputs, limit_mb=limit_mb))
