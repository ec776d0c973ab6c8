"""What the registry of metrics says of a logged key: metric, title, direction, order. Imports no torch."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from metriscope.evaluation.metric import Direction, Metric
from metriscope.evaluation.registry import METRICS

"""Every metric that ships, in the order in which tables show them."""

HEADLINES = (
    "recall_at_1",
    "map_at_r",
    "r_precision",
    "knn_accuracy",
    "linear_probe_accuracy",
    "variance_intra",
    "variance_inter",
)
"""Final figures on the test set by which runs are compared where nothing else is asked for."""

# What may follow a name, and what it adds to the title: of single steps, of the features before the head, of the
# head's output before normalisation.
_SUFFIXES = {"_step": "", "_trunk": " (trunk)", "_raw": " (raw)"}


@lru_cache(maxsize=4096)
def metric_of(key: str) -> Metric | None:
    """The metric of a logged key, such as ``best/val/recall_at_4_trunk``; None where the registry has none.

    The split does not matter; numbers of families and suffixes are part of the returned key and title.
    """
    name = key.rpartition("/")[2]
    for metric in METRICS:
        if found := metric.named(name):
            return found
    for suffix in _SUFFIXES:
        whole = metric_of(name.removesuffix(suffix)) if name.endswith(suffix) else None
        if whole is not None:
            return suffixed(whole, suffix)
    return None


def suffixed(metric: Metric, suffix: str) -> Metric:
    """The metric under its name with a suffix: ``_trunk``, ``_raw``, ``_step``, or none."""
    return replace(metric, key=metric.key + suffix, title=metric.title + _SUFFIXES[suffix]) if suffix else metric


def registered(*keys: str) -> tuple[Metric, ...]:
    """The metrics of the registry with these keys; a key that it does not have is a KeyError."""
    known = {metric.key: metric for metric in METRICS}
    return tuple(known[key] for key in keys)


def title_of(key: str) -> str:
    """What tables and figures call a logged key; its name without the split where the registry has none."""
    metric = metric_of(key)
    return key.rpartition("/")[2] if metric is None else metric.title


def direction_of(key: str) -> Direction | None:
    """Which end of a logged key is better; None where neither is, or the registry does not know."""
    metric = metric_of(key)
    return None if metric is None else metric.direction


def bounds_of(key: str) -> tuple[float, float]:
    """The least and the largest value that a logged key can have; infinite where the registry says none."""
    metric = metric_of(key)
    return (-math.inf, math.inf) if metric is None else metric.limits


def following(key: Any, evaluation: Mapping[str, Any]) -> Any:
    """The mode that null stands for where a key is monitored, by the registry alone; None where none follows.

    Args:
        key: the monitored metric.
        evaluation: the section of that name, whose mode also holds for others that monitor its metric.
    """
    direction = direction_of(str(key))
    return direction or (evaluation.get("mode") if key == evaluation.get("monitor") else None)


def ordered(keys: Iterable[str], suffix: str = "") -> list[Metric]:
    """The metrics of logged keys with this suffix, each once, in the order of the registry and of k."""
    logged = {key.rpartition("/")[2] for key in keys}
    names = {name.removesuffix(suffix) for name in logged if name.endswith(suffix)}
    if suffix:
        names -= {name for name in names if any(metric.named(name + suffix) for metric in METRICS)}
    return [
        suffixed(found, suffix)
        for metric in METRICS
        for found in sorted(filter(None, map(metric.named, names)), key=lambda one: (len(one.key), one.key))
    ]


def logged(split: str, *names: str) -> tuple[str, ...]:
    """The logged keys of metrics in a split; a name that the registry does not have is a KeyError."""
    for name in names:
        if metric_of(name) is None:
            raise KeyError(name)
    return tuple(f"{split}/{name}" for name in names)


def table() -> str:
    """The registry as a table in Markdown, as the page of metrics has it."""
    ends = {"max": "higher", "min": "lower", None: ""}
    lines = ["| key | title | better | definition |", "| --- | --- | --- | --- |"]
    for metric in METRICS:
        definition = metric.definition.replace("|", r"\|")
        lines.append(f"| `{metric.key}` | {metric.title} | {ends[metric.direction]} | {definition} |")
    return "\n".join(lines) + "\n"
