"""What is about two modalities, where the data of a run have one."""

from collections.abc import Mapping
from typing import Any

from metriscope.config.entries import entries
from metriscope.errors import InputError
from metriscope.evaluation.set_metric import asked_metrics

_CURE = "leave it null, or use paired data, such as dataset=paired"


def check_pairs(config: Mapping[str, Any]) -> None:
    """Refuse an objective of pairs across modalities.

    Args:
        config: of a run whose data have one modality.

    Raises:
        InputError: naming the key.
    """
    for entry in entries(config):
        if entry.pairs_across:
            where = "" if entry.where == "loss" else f"{entry.where}."
            raise InputError(f"{where}pairs_across={entry.pairs_across}: the data are of one modality; {_CURE}")


def check_metrics(evaluation: Mapping[str, Any]) -> None:
    """Refuse metrics of modalities.

    Args:
        evaluation: the section of a run whose data have one modality.

    Raises:
        InputError: naming the key.
    """
    for one in asked_metrics(evaluation):
        if one.part.of_sides:
            raise InputError(f"evaluation.metrics.{one.key} is about two modalities, and the data are of one: {_CURE}")
