"""Loads and splits the data set that the section ``dataset`` of a config describes."""

from collections.abc import Mapping
from typing import Any

from metriscope.config.sections import SECTIONS
from metriscope.data.examples import Source
from metriscope.data.splits import Splits, split
from metriscope.parts import instantiate


def load_splits(dataset: Mapping[str, Any]) -> Splits:
    """Loads and splits a data set; opens no image file.

    Keys that only this data set has are the arguments of its ``_target_``.

    Raises:
        InputError: the data are missing or broken, or cannot be split in this way.
    """
    source: Source = instantiate(SECTIONS["dataset"].arguments(dataset), "dataset")
    return split(source, dataset["protocol"], dataset.get("fold", 0), dataset.get("validation"))
