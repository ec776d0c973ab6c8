"""Rules of the keys that choose between fine and coarse labels. Imports no torch."""

from collections.abc import Mapping
from typing import Any

from metriscope.annotations import said
from metriscope.errors import InputError, nearest

LABEL_SETS = ("fine", "coarse")


def check_label_sets(dataset: Mapping[str, Any]) -> None:
    """Refuse what names no label set.

    Args:
        dataset: the section of the config.

    Raises:
        InputError: naming the key.
    """
    for key in ("train_labels", "test_labels"):
        value = dataset.get(key)
        if value is not None and value not in LABEL_SETS:
            near = nearest(said(value), LABEL_SETS)
            raise InputError(f"dataset.{key}={said(value)}: it has to be fine, coarse or null{near}")
