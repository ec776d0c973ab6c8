"""Loads and splits the data set that the section ``dataset`` of a config describes."""

from collections.abc import Mapping
from typing import Any

from hydra.utils import get_method

from metriscope.data.examples import Source
from metriscope.data.splits import Splits, split

_SHARED = {
    "_target_", "name", "protocol", "fold", "validation", "mean", "std", "num_workers", "cache", "memory_limit_mb",
}  # fmt: skip


def load_splits(dataset: Mapping[str, Any]) -> Splits:
    """Loads and splits a data set; opens no image file.

    Keys that only this data set has are the arguments of its ``_target_``.

    Raises:
        InputError: the data are missing or broken, or cannot be split in this way.
    """
    source: Source = get_method(dataset["_target_"])(**{k: v for k, v in dataset.items() if k not in _SHARED})
    return split(source, dataset["protocol"], dataset.get("fold", 0), dataset.get("validation"))
