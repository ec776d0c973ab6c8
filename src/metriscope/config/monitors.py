"""Rules for monitored metrics, and for the metrics that a config names."""

from collections.abc import Iterator, Mapping
from typing import Any

from metriscope.annotations import said
from metriscope.config.entries import is_sum
from metriscope.config.files import choices
from metriscope.errors import InputError
from metriscope.evaluation.monitors import check_logged, monitor_of
from metriscope.evaluation.set_metric import asked_metrics

Section = Mapping[str, Any]


def check_monitors(config: Section) -> None:
    """A monitored metric has to be one of the validation set, logged by this config, with one better end.

    A search, which goes by the last values, may take one of training.

    Imports no torch unless a metric of one's own does.

    Args:
        config: plain and resolved.

    Raises:
        InputError: naming the key, its value, and what would do.
    """
    evaluation = config["evaluation"]
    asked_metrics(evaluation)
    closed = _closed(config)
    for where, section in watching(config):
        name = "metric" if where == "sweep" else "monitor"
        key, metric = f"{where}.{name}", str(section.get(name) or "")
        if not metric and where == "scheduler":
            metric = str(evaluation["monitor"])
        elif metric.startswith("test/"):
            raise InputError(f"{key}={metric}: selecting by the test set is refused; use val/{metric[5:]}")
        elif metric.startswith("val/") or (where == "sweep" and metric.startswith("train/")):
            check_logged(metric, key, config, closed)
        elif where in ("evaluation", "scheduler", "sweep"):
            raise InputError(f"{key}={said(section.get(name))}: it has to be a val/ metric, such as val/map_at_r")
        # A callback without a mode of its own may take none.
        if not where.startswith("callbacks.") or "mode" in section:
            monitor_of(section, where, evaluation)
    _check_validated(config)
    watches = "monitor" in config["scheduler"]
    early = config["callbacks"].get("early_stopping") is not None
    if config["dataset"].get("validation") == 0 and (watches or early):
        what = f"scheduler={config['scheduler']['name']}" if watches else "callbacks=early_stopping"
        raise InputError(f"{what} watches the validation set: set dataset.validation above 0")
    if watches and evaluation["every_n_epochs"] != 1:
        raise InputError(
            f"scheduler={config['scheduler']['name']} looks at every epoch: set evaluation.every_n_epochs=1"
        )


def _check_validated(config: Section) -> None:
    """What goes by a validation metric needs one in the course of the training."""
    every, epochs = config["evaluation"]["every_n_epochs"], config["trainer"]["max_epochs"]
    none = "trainer.limit_val_batches=0" if config["trainer"].get("limit_val_batches") == 0 else ""
    none = f"evaluation.every_n_epochs={every} with trainer.max_epochs={epochs}" if every > epochs else none
    if not none:
        return
    for where, section in watching(config):
        name = "metric" if where == "sweep" else "monitor"
        metric = str(section.get(name) or config["evaluation"]["monitor"])
        # Without any validation, the last checkpoint is the best.
        if where != "evaluation" and metric.startswith("val/"):
            raise InputError(
                f"{none} validates nothing, and {where} waits for {metric}: validate, or leave {where} out"
            )


def watching(config: Section) -> Iterator[tuple[str, Section]]:
    """The sections that go by a metric, after their keys."""
    yield "evaluation", config["evaluation"]
    if "monitor" in config["scheduler"]:
        yield "scheduler", config["scheduler"]
    for name, section in config["callbacks"].items():
        if isinstance(section, Mapping) and "monitor" in section:
            yield f"callbacks.{name}", section
    if config.get("sweep"):
        yield "sweep", config["sweep"]


def _closed(config: Section) -> bool:
    """Whether shipped parts and metrics by key are all that logs."""
    loss = config["loss"]
    entries = loss["losses"] if is_sum(loss) and isinstance(loss["losses"], list) else [loss]
    losses = [entry for entry in entries if isinstance(entry, Mapping)]
    callbacks = [section for section in config["callbacks"].values() if isinstance(section, Mapping)]
    diagnostics = [section for section in config["diagnostics"].values() if isinstance(section, Mapping)]
    return (
        all(one.get("name") in choices("loss") and str(one.get("_target_")).startswith("metriscope.") for one in losses)
        and all(str(section.get("_target_")).startswith("pytorch_lightning.") for section in callbacks)
        and all(str(section.get("_target_")).startswith("metriscope.") for section in diagnostics)
    )
