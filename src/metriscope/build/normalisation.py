"""Normalisation of images: the data set's statistics, or those that a backbone's weights expect."""

from collections.abc import Mapping, Sequence
from typing import Any

Statistics = tuple[Sequence[float] | None, Sequence[float] | None]


def normalisation(dataset: Mapping[str, Any], backbone: Mapping[str, Any] | None, channels: int) -> Statistics:
    """Mean and std per channel, on the [0, 1] scale: ``backbone.mean`` and ``backbone.std`` if set,
    otherwise those of ``dataset``; None for no normalisation.

    Grey images get the mean over channels of a backbone's values for RGB.
    """
    if backbone is None or backbone.get("mean") is None:
        return _listed(dataset.get("mean")), _listed(dataset.get("std"))
    mean, std = list(backbone["mean"]), list(backbone["std"])
    if channels == 1:
        mean, std = [sum(mean) / len(mean)], [sum(std) / len(std)]
    return mean, std


def _listed(values: Sequence[float] | None) -> list[float] | None:
    return None if values is None else list(values)


def disagreement(used: Statistics, expected: tuple[Sequence[float], Sequence[float]]) -> str | None:
    """Message that names the settings if images are not normalised as the weights expect; None if they are, to 0.02.

    One value for all channels is compared with the mean over channels.
    """
    settings = []
    for key, own, wanted, neutral in zip(("mean", "std"), used, expected, (0.0, 1.0), strict=True):
        values = own or [neutral]
        target = list(wanted) if len(values) > 1 else [sum(wanted) / len(wanted)]
        if len(values) != len(target) or any(abs(a - b) > 0.02 for a, b in zip(values, target, strict=True)):
            settings.append(f"backbone.{key}=[{','.join(f'{value:.4g}' for value in wanted)}]")
    return " ".join(settings) or None
