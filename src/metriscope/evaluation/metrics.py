"""The registry of metrics: key, title, section, which end is better, definition. Imports no torch."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from metriscope.evaluation.metric import Direction, Metric

_ALL = ("train", "val", "test")
_LOSS = ("train", "val")
_POSITIVE = (0.0, math.inf)

METRICS = (
    Metric(
        "recall_at_{k}", "Recall@{k}", "retrieval", "max",
        "share of queries with a hit among the k nearest; leave-one-out, or queries in a gallery where the data "
        "set has them; ties go to the earlier sample",
        headline=True, unit="share",
    ),
    Metric(
        "map_at_r", "MAP@R", "retrieval", "max",
        "mean over queries of (1/R) sum_{i<=R} P(i) rel(i), arXiv:2003.08505", headline=True, unit="share",
    ),
    Metric(
        "r_precision", "R-precision", "retrieval", "max",
        "mean share of hits among the R nearest, R being the others of the query's class", headline=True, unit="share",
    ),
    Metric(
        "precision_at_{k}", "Precision@{k}", "retrieval", "max",
        "mean share of hits among the k nearest", headline=True, unit="share",
    ),
    Metric("mrr", "MRR", "retrieval", "max", "mean of 1 / rank of the first hit", headline=True, unit="share"),
    Metric(
        "queries_skipped", "queries skipped", "retrieval", None,
        "number of queries with nothing of their class to find", headline=True, unit="count",
    ),
    Metric(
        "knn_accuracy", "k-NN accuracy", "classification", "max",
        "vote of the nearest training samples, scored on test; closed set only", ("test",), True,
        "share",
    ),
    Metric(
        "linear_probe_accuracy", "linear-probe accuracy", "classification", "max",
        "logistic regression on the embedding, fitted on train, scored on test; closed set only", ("test",), True,
        "share",
    ),
    Metric(
        "nmi", "NMI", "clustering", "max",
        "normalised mutual information of k-means clusters with the classes, with `evaluation.metrics.clustering=true`",
        ("test",), True, "share",
    ),
    Metric(
        "ami", "AMI", "clustering", "max",
        "mutual information of k-means clusters with the classes, adjusted for chance", ("test",), True, "share",
    ),
    Metric(
        "variance_intra", "intra-class variance", "variance", None,
        "mean over classes of the mean squared distance to the class mean", headline=True, bounds=_POSITIVE,
    ),
    Metric(
        "variance_inter", "inter-class variance", "variance", None,
        "mean squared distance of class means to the mean of class means", headline=True, bounds=_POSITIVE,
    ),
    Metric(
        "variance_ratio", "variance ratio intra / inter", "variance", None,
        "`variance_intra` / `variance_inter`", headline=True, bounds=_POSITIVE,
    ),
    Metric(
        "variance_inter_pairwise", "inter-class variance, pairwise", "variance", None,
        "mean squared distance between two class means", bounds=_POSITIVE,
    ),
    Metric(
        "variance_inter_spread", "spread of inter-class distances", "variance", None,
        "standard deviation of the squared distances between two class means, over their mean: 0 where classes are "
        "evenly spaced", bounds=_POSITIVE,
    ),
    Metric(
        "variance_within", "variance within classes", "variance", None,
        "mean squared distance of samples to their class mean; total = within + between", bounds=_POSITIVE,
    ),
    Metric(
        "variance_between", "variance between classes", "variance", None,
        "mean over samples of the squared distance of their class mean to the mean of all", bounds=_POSITIVE,
    ),
    Metric(
        "variance_total", "total variance", "variance", None, "mean squared distance of samples to their mean",
        bounds=_POSITIVE,
    ),
    Metric(
        "cosine_intra", "intra-class cosine distance", "variance", None,
        "mean over classes of the mean cosine distance of two samples, arXiv:2002.08473", bounds=_POSITIVE,
    ),
    Metric(
        "cosine_inter", "inter-class cosine distance", "variance", None,
        "mean cosine distance of two class means, arXiv:2002.08473", bounds=_POSITIVE,
    ),
    Metric(
        "pi_ratio", "cosine ratio intra / inter", "variance", None, "`cosine_intra` / `cosine_inter`",
        bounds=_POSITIVE,
    ),
    Metric(
        "spectral_decay", "spectral decay", "variance", None,
        "KL divergence between the uniform distribution and the normalised singular values, arXiv:2002.08473",
        bounds=_POSITIVE,
    ),
    Metric(
        "active_ratio", "active ratio", "greediness", None,
        "share of terms (pairs, triplets) with a non-zero loss, among all that the labels allow", _LOSS, True,
        "share",
    ),
    Metric(
        "active_ratio_{k}", "active ratio, part {k}", "greediness", None,
        "active ratio of part k of `loss=sum`", _LOSS, unit="share",
    ),
    Metric(
        "active_ratio_positive", "active ratio, positives", "greediness", None,
        "active ratio of positive pairs", _LOSS, unit="share",
    ),
    Metric(
        "active_ratio_negative", "active ratio, negatives", "greediness", None,
        "active ratio of negative pairs", _LOSS, unit="share",
    ),
    Metric(
        "active_ratio_pairs", "active ratio (pairs)", "greediness", None,
        "share of pairs whose weight |dL/ds| exceeds `diagnostics.greediness.pair_weight_threshold` of the "
        "batch's largest: one scale for every loss; of batches above 4 million pairs, in logged steps",
        _LOSS, True, "share",
    ),
    Metric(
        "active_ratio_pairs_{k}", "active ratio (pairs), part {k}", "greediness", None,
        "active ratio of pairs of part k of `loss=sum`, where parts differ in distance, space or references", _LOSS,
        unit="share",
    ),
    Metric(
        "grad_norm", "gradient norm", "greediness", None,
        "L2 norm of the gradients of all parameters, unscaled, before clipping", ("train",), True, bounds=_POSITIVE,
    ),
    Metric(
        "grad_norm_trunk", "gradient norm, trunk", "greediness", None,
        "L2 norm of the gradients of the trunk", ("train",), True, bounds=_POSITIVE,
    ),
    Metric(
        "grad_norm_head", "gradient norm, head", "greediness", None,
        "L2 norm of the gradients of the head", ("train",), True, bounds=_POSITIVE,
    ),
    Metric(
        "grad_norm_loss", "gradient norm, loss", "greediness", None,
        "L2 norm of the gradients of the loss's own parameters", ("train",), bounds=_POSITIVE,
    ),
    Metric(
        "grad_norm_embedding", "gradient norm per sample", "greediness", None,
        "mean of ||dL/dz|| over samples", _LOSS, True, bounds=_POSITIVE,
    ),
    Metric(
        "grad_norm_embedding_active", "gradient norm per active sample", "greediness", None,
        "mean of ||dL/dz|| over samples in an active term", _LOSS, True, bounds=_POSITIVE,
    ),
    Metric("loss", "loss", "loss", "min", "value of the loss, mean over steps", _LOSS, True),
    Metric(
        "loss_mean", "mean loss", "loss", "min",
        "mean over all valid terms, where the loss is reduced in another way", _LOSS,
    ),
    Metric("loss_{k}", "loss, part {k}", "loss", "min", "value of part k of `loss=sum`, without its weight", _LOSS),
    Metric("loss_contrast", "loss, contrast", "loss", "min", "softmax term of `loss=center_contrastive`", _LOSS),
    Metric("loss_center", "loss, centre", "loss", "min", "centre term of `loss=center_contrastive`", _LOSS),
    Metric("loss_invariance", "loss, invariance", "loss", "min", "invariance term of `loss=vicreg`", _LOSS),
    Metric("loss_variance", "loss, variance", "loss", "min", "variance term of `loss=vicreg`", _LOSS),
    Metric("loss_covariance", "loss, covariance", "loss", "min", "covariance term of `loss=vicreg`", _LOSS),
    Metric("sigmoid_scale", "scale of the sigmoid", "loss", None, "learned scale of `loss=sigmoid`", _LOSS),
    Metric("sigmoid_bias", "bias of the sigmoid", "loss", None, "learned bias of `loss=sigmoid`", _LOSS),
    Metric("regularizer", "regulariser", "loss", "min", "spread of a class's centres in `loss=soft_triple`", _LOSS),
    Metric("zero_mean", "zero-mean term", "loss", "min", "regularising term of `loss=signal_to_noise`", _LOSS),
    Metric("beta", "mean beta", "loss", None, "mean boundary between positives and negatives in `loss=margin`", _LOSS),
    Metric(
        "loss_decay_rate", "drop of the loss per epoch", "loss", None,
        "(L of the epoch before - L) / L of the epoch before, of the mean over all terms", _LOSS, True,
    ),
    Metric(
        "loss_decay_fit", "decay rate (fit)", "loss", None,
        "rate of an exponential fit to the loss over the run, per epoch", ("train",), True,
    ),
    Metric(
        "loss_half_life", "half-life (epochs)", "loss", None,
        "half-life of an exponential fit to the loss over the run, in epochs", ("train",), True,
    ),
    Metric(
        "gradient_per_active_term", "gradient per active term", "course", None,
        "mean over epochs of the gradient norm that an active term has on average", ("course",), bounds=_POSITIVE,
    ),
    Metric(
        "early_loss_decay", "early drop of the loss", "course", None,
        "relative drop of the mean loss from the first epoch to the end of the first third", ("course",),
    ),
    Metric(
        "late_gradient", "late gradient", "course", None,
        "gradient norm in the last third of the epochs over that in the first third", ("course",), bounds=_POSITIVE,
    ),
    Metric(
        "early_compaction", "early compaction", "course", None,
        "relative drop of `variance_intra` from the first epoch to the end of the first third", ("course",),
    ),
)  # fmt: skip
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
    """The registry as a table in Markdown, as the README has it."""
    ends = {"max": "higher", "min": "lower", None: ""}
    lines = ["| key | title | better | definition |", "| --- | --- | --- | --- |"]
    for metric in METRICS:
        definition = metric.definition.replace("|", r"\|")
        lines.append(f"| `{metric.key}` | {metric.title} | {ends[metric.direction]} | {definition} |")
    return "\n".join(lines) + "\n"
