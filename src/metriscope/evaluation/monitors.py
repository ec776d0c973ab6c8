"""Monitored metrics: which a run logs, and which end of each is better. Imports no torch.

The sections ``evaluation``, ``scheduler``, ``sweep`` and those of callbacks name a metric, as ``monitor`` or
``metric``, and may say its better end as ``mode``.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from metriscope.errors import InputError, nearest
from metriscope.evaluation.metric import Direction
from metriscope.evaluation.registry import METRICS
from metriscope.evaluation.set_metric import asked_metrics, known_metric
from metriscope.evaluation.shipped import SHIPPED

Section = Mapping[str, Any]

GREEDINESS = "metriscope.callbacks.greediness.GreedinessMonitor"
VARIANCE = "metriscope.callbacks.variance.VarianceMonitor"
"""The diagnostics that log the metrics of these sections, as a config names them."""

_WORDS = {"max": "higher", "min": "lower"}


class Monitor(NamedTuple):
    """A metric that something goes by, and its better end."""

    metric: str
    mode: Direction


def monitor_of(section: Section, where: str, evaluation: Section) -> Monitor:
    """What a section goes by: its own metric, or that of ``evaluation``; the better end is that of the metric.

    Args:
        section: with ``monitor`` or ``metric``, and ``mode``, where null stands for what follows from the metric.
        where: the section's key, such as ``callbacks.early_stopping``.
        evaluation: the section of that name.

    Raises:
        InputError: a mode that contradicts the metric, or none where the metric has no better end.
    """
    name = "metric" if "metric" in section else "monitor"
    metric = str(section.get(name) or evaluation["monitor"])
    mode, known = section.get("mode"), known_metric(metric, evaluation)
    if mode not in (*_WORDS, None):
        raise InputError(f"{where}.mode={mode}: it has to be one of max, min{nearest(str(mode), _WORDS)}")
    end = known.direction if known else None
    if end and mode and mode != end:
        raise InputError(
            f"{where}.mode={mode} contradicts {where}.{name}={metric}, where {_WORDS[end]} is better: leave it null"
        )
    chosen = end or mode or (evaluation.get("mode") if metric == evaluation["monitor"] else None)
    if chosen not in _WORDS:
        why = "has no better end" if known else "is no metric whose better end is known"
        raise InputError(f"{where}.{name}={metric} {why}: say which it is, {where}.mode=max or {where}.mode=min")
    return Monitor(metric, "max" if chosen == "max" else "min")


def check_logged(metric: str, key: str, config: Section, closed: bool) -> None:
    """Refuse a metric of validation that this config does not log, or one of training that none does.

    Args:
        metric: such as ``val/map_at_r`` or ``train/loss``.
        key: of the config that names it.
        config: plain and resolved.
        closed: whether everything that logs is known; else a name that is in no registry may be that of a loss or
            a callback of one's own.

    Raises:
        InputError: with the nearest name.
    """
    known, split = known_metric(metric, config["evaluation"]), metric.partition("/")[0]
    trains = split == "train"
    logged = [one.key for one in METRICS if split in one.splits] if trains else _validated(config)
    names = [f"{split}/{name}" for name in logged]
    if metric in names or (known is None and not closed) or (trains and known and split in known.splits):
        return
    elsewhere = f" (it is one of {', '.join(known.splits)})" if known and split not in known.splits else ""
    raise InputError(f"{key}={metric}: this run logs no such metric{elsewhere}{nearest(metric, names)}")


# What classes log, and so only where a config asks for them.
_OF_CLASSES = frozenset(figure for part in SHIPPED.values() for figure in part.figures)


def _validated(config: Section) -> Iterator[str]:
    """Names of what is logged of the validation set, parts of losses included whichever loss has them."""
    evaluation, loss = config["evaluation"], config["loss"]
    watched = {str(one.get("_target_")): one for one in config["diagnostics"].values() if isinstance(one, Mapping)}
    suffixes = _suffixes(evaluation["layers"])
    for figure in (figure for asked in asked_metrics(evaluation) for figure in asked.figures):
        if "val" in figure.splits:
            yield from (f"{figure.key}{suffix}" for suffix in suffixes)
    for metric in METRICS:
        if "val" not in metric.splits or metric in _OF_CLASSES:
            continue
        if metric.section == "variance":
            kinds = ["", "_raw"] if metric.key.startswith("variance_") else [""]
            if VARIANCE in watched:
                own = _suffixes(watched[VARIANCE].get("layers", evaluation["layers"]))
                yield from (f"{metric.key}{kind}{suffix}" for kind in kinds for suffix in own)
        elif metric.key.startswith("negative_spread") and not watched.get(GREEDINESS, {}).get("negative_spread"):
            continue
        elif "{k}" in metric.key:
            yield from (metric.key.format(k=k) for k in range(len(loss.get("losses") or ())))
        elif GREEDINESS in watched or metric.key == "active_ratio" or metric.section == "loss":
            yield metric.key


def _suffixes(layers: Any) -> list[str]:
    return ["" if layer == "embedding" else f"_{layer}" for layer in layers]
