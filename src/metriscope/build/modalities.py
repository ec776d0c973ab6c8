"""What is about two modalities, where the data of a run have one."""

from collections.abc import Mapping
from typing import Any

from metriscope.config.entries import entries
from metriscope.errors import InputError
from metriscope.evaluation.set_metric import asked_metrics

_CURE = "leave it null, or use paired data, such as dataset=paired"


def check_sides(config: Mapping[str, Any], trains: bool) -> None:
    """Refuse pairs across modalities, and metrics of modalities.

    Args:
        config: of a run whose data have one modality.
        trains: whether it has an objective.

    Raises:
        InputError: naming the key.
    """
    for entry in entries(config) if trains else ():
        if entry.pairs_across:
            where = "" if entry.where == "loss" else f"{entry.where}."
            raise InputError(f"{where}pairs_across={entry.pairs_across}: the data are of one modality; {_CURE}")
    for one in asked_metrics(config["evaluation"]):
        if one.part.of_sides:
            raise InputError(f"evaluation.metrics.{one.key} is about two modalities, and the data are of one: {_CURE}")
