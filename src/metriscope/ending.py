"""Results written at the end of a run: metrics of the test set alone, summary, embeddings and figures."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from metriscope.callbacks.evaluation import suffix_of
from metriscope.config.evaluates import EVALUATES
from metriscope.data.datamodule import DataModule
from metriscope.data.splits import Splits
from metriscope.diagnostics.decay import exponential_fit
from metriscope.evaluation.embedded import EvaluatedSet, References
from metriscope.evaluation.per_class import per_class, write_per_class
from metriscope.evaluation.per_query import QueryResult, per_query, write_per_query
from metriscope.evaluation.rankings import rankings
from metriscope.evaluation.search.neighbors import nearest
from metriscope.evaluation.set_metric import build_metrics, known_metric
from metriscope.evaluation.verification.rates import write_thresholds
from metriscope.files import replacing, write_json
from metriscope.objectives.weightings.dbpm import Judgement
from metriscope.reports.confusions import confused_pairs
from metriscope.reports.figures import write_history_figures
from metriscope.reports.gallery import choose_queries, retrieval_gallery
from metriscope.reports.projection import projection
from metriscope.reports.run_tables import class_table, gallery_table, hardest_table
from metriscope.reports.spectrum import Profile, profiles, spectrum, write_spectrum
from metriscope.reports.style import guarded, save_as
from metriscope.reports.suspects import suspects_measures, write_suspects
from metriscope.reports.verification import roc
from metriscope.run.folder import Run
from metriscope.run.history import EPOCHS, Row, Selected, epochs_trained, points, read_history, summary
from metriscope.tracking.base import LoggedTable, RunLogger
from metriscope.tracking.guard import Guard
from metriscope.tracking.wandb import asks
from metriscope.training.learner import MetricLearner

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

_NEIGHBOURS_SHOWN = 8


def report(
    run: Run,
    trainer: pl.Trainer,
    module: MetricLearner,
    data: DataModule,
    loggers: Sequence[RunLogger],
    best: Selected | None,
    suspected: Judgement | None = None,
) -> dict[str, Any]:
    """Write ``summary.json``, then the outputs that the config asks for, after the test; returns the summary.

    Args:
        run, trainer, module, data, loggers: of the run.
        best: when the tested checkpoint was saved, if validation has selected one.
        suspected: what the losses of the whole training say of each sample, if a weighting has kept them.
    """
    final = {key: float(value) for key, value in trainer.callback_metrics.items() if key.startswith("test/")}
    evaluation = run.config["evaluation"]
    tested = module.evaluated
    assert tested is not None
    final.update(_at_end(evaluation, trainer, module, data))
    if not trainer.is_global_zero:
        return final
    history = read_history(run.history)
    losses = points(history, "train/loss_mean")[1] or points(history, "train/loss")[1]
    fit = exponential_fit(losses)
    if fit is not None:
        final.update({"train/loss_decay_fit": fit.rate, "train/loss_half_life": fit.half_life})
    if data.splits.noise is not None and not run.config.get(EVALUATES):
        final["train/noisy_labels"] = data.splits.noise.count
    if suspected is not None:
        final.update({f"train/{name}": value for name, value in suspects_measures(suspected, data.splits).items()})
        write_suspects(run.folder / "suspects.csv", suspected, data.splits)
    metrics: dict[str, Any] = summary(history, best, final)
    write_json(run.folder / "summary.json", metrics)
    run.record_metrics(described(metrics, evaluation))
    sends, trains = asks(run.config, "checkpoint"), not run.config.get(EVALUATES)
    if evaluation["save_embeddings"] or sends:
        _save_embeddings(run.folder / "embeddings.npz", tested, data.splits)
    if evaluation["per_class"]:
        write_per_class(run.folder / "per_class.csv", per_class(tested.ranked(), data.splits.test.classes))
    if tested.pairs and (rates := tested.pairs.known_rates):
        write_thresholds(run.folder / "thresholds.csv", rates, data.splits.test.classes)
    if evaluation.get("per_query"):
        write_per_query(run.folder / "per_query.csv", _per_query(tested, data.splits, evaluation["memory_mb"]))
    widths = profiles(module.tested) if evaluation.get("spectrum") else {}
    if widths:
        write_spectrum(run.folder / "spectrum.csv", widths)
    shown = cache(partial(_shown, tested, data, run.config["seed"]))
    paths: list[Path] = []
    if run.config["logger"]["figures"]:
        paths = _figures(run, history if trains else [], best, tested, data.splits, shown, widths)
    tables = None
    if asks(run.config, "tables"):
        make = Guard("the tables of the test set", "they are left out")
        tables = make("be made", partial(_tables, tested, data, shown))
    # Last, because a server may keep them waiting, and the files of the run shall be whole by then.
    for logger in loggers:
        logger.log_summary({**metrics, EPOCHS: epochs_trained(history)} if trains else metrics)
        logger.log_figures([path for path in paths if path.suffix == ".png"])
        if tables is not None:
            logger.log_tables(tables)
        if sends:
            checkpoint = [run.best_checkpoint if best else run.last_checkpoint] if trains else []
            logger.log_artifacts([*checkpoint, run.folder / "embeddings.npz"], metrics)
    return metrics


def described(keys: Iterable[str], evaluation: Mapping[str, Any]) -> dict[str, list[str | None]]:
    """Title and direction of logged metrics by key without split, for reports that do not know them."""
    names = sorted({key.rpartition("/")[2] for key in keys if key != "best/epoch"})
    known = {name: known_metric(name, evaluation) for name in names}
    return {name: [name, None] if one is None else [one.title, one.direction] for name, one in known.items()}


def _at_end(
    evaluation: Mapping[str, Any], trainer: pl.Trainer, module: MetricLearner, data: DataModule
) -> dict[str, float]:
    """Metrics of the test set, in every layer, that are computed once, some of them fitted on the training set."""
    metrics = [one for one in build_metrics(evaluation) if one.asked.at_end]
    if not _classifies(evaluation, data):
        metrics = [one for one in metrics if not (one.metric.references and one.metric.classifies)]
    if not metrics:
        return {}
    fitted = any(one.metric.references for one in metrics)
    known = _references(trainer, module, data) if fitted else {}
    found = {}
    for layer, tested in module.tested.items():
        embedded = tested._replace(
            embeddings=tested.embeddings.cpu(),
            labels=tested.labels.cpu(),
            references=known.get(layer),
            side=None if tested.side is None else tested.side.cpu(),
            seen=data.protocol == "closed_set",
        )
        figures = ((name, value) for one in metrics for name, value in one.of(embedded).items())
        found.update({f"test/{name}{suffix_of(layer)}": value for name, value in figures})
    return found


def _classifies(evaluation: Mapping[str, Any], data: DataModule) -> bool:
    choice = evaluation["classification"]
    return data.protocol == "closed_set" if choice == "auto" else bool(choice)


def _references(trainer: pl.Trainer, module: MetricLearner, data: DataModule) -> dict[str, References]:
    """The training set without augmentation, of all processes, in every tested layer."""
    module.predicted = list(module.tested)
    batches: Any = trainer.predict(module, datamodule=data)
    labels = torch.cat([y for _, y in batches]).cpu()
    known = {layer: torch.cat([z[layer] for z, _ in batches]).cpu() for layer in module.predicted}
    if trainer.world_size > 1:
        shares: list[Any] = [None] * trainer.world_size
        torch.distributed.all_gather_object(shares, (known, labels))
        labels = torch.cat([share for _, share in shares])
        known = {layer: torch.cat([share[layer] for share, _ in shares]) for layer in known}
    return {layer: References(z, labels) for layer, z in known.items()}


def _save_embeddings(path: Path, tested: EvaluatedSet, splits: Splits) -> None:
    """``embeddings`` (N, D) float32, ``labels`` (N,) int64, ``classes`` (C,) names of the test set.

    Of pairs also ``side`` (N,) int64, the modality of each row, where pair p has the rows p and N / 2 + p.
    Where the data are image files, also ``paths`` (N,), relative to the common folder of all parts.
    """
    arrays: dict[str, Any] = {
        "embeddings": tested.embeddings.cpu().numpy(),
        "labels": tested.labels.cpu().numpy(),
        "classes": np.array(splits.test.classes, dtype=np.str_),
    }
    if tested.side is not None:
        arrays["side"] = tested.side.cpu().numpy()
    names = splits.file_names("test")
    if names is not None and tested.positions is not None:
        arrays["paths"] = np.array([names[position] for position in tested.positions.tolist()], dtype=np.str_)
    with replacing(path) as draft:
        np.savez(draft, **arrays)


def _per_query(tested: EvaluatedSet, splits: Splits, memory_mb: float) -> list[QueryResult]:
    return per_query(tested, splits.test.classes, splits.file_names("test"), splits.queries, memory_mb)


class _TestImages:
    """Test images by position, read only when shown."""

    def __init__(self, data: DataModule) -> None:
        self.data = data

    def __getitem__(self, index: int) -> Tensor:
        return self.data.serving.image("test", index)


def _neighbours(z: Tensor, tested: EvaluatedSet, queries: Tensor | None) -> NDArray[Any]:
    """The nearest samples of every query by position, -1 for samples that are no queries."""
    if queries is not None:
        queries = queries.cpu() if tested.positions is None else queries.cpu()[tested.positions.cpu()]
    parts = [
        (asking, kept[nearest(z[asking], z[kept], _NEIGHBOURS_SHOWN, exclude_self=alone)])
        for asking, kept, alone in rankings(len(z), queries, None if tested.side is None else tested.side.cpu())
    ]
    found = parts[0][0].new_full((len(z), max(near.shape[1] for _, near in parts)), -1)
    for asking, near in parts:
        found[asking, : near.shape[1]] = near
    return found.numpy()


class _Shown(NamedTuple):
    """What the gallery shows."""

    images: _TestImages | None
    labels: NDArray[Any]
    found: NDArray[Any]
    queries: dict[str, list[int]]


def _shown(tested: EvaluatedSet, data: DataModule, seed: int) -> _Shown | None:
    """Queries with their neighbours; None where no query has another image of its class to find."""
    embeddings, labels = tested.embeddings.cpu(), tested.labels.cpu().numpy()
    if len(np.unique(labels)) == len(labels):
        return None
    are_images = len(data.input_shape) == 3 and data.input_shape[0] in (1, 3)
    found = _neighbours(embeddings, tested, data.splits.queries)
    queries = choose_queries(labels, found, seed=seed)
    return _Shown(_TestImages(data) if are_images else None, labels, found, queries)


def _figures(
    run: Run,
    history: Sequence[Row],
    best: Selected | None,
    tested: EvaluatedSet,
    splits: Splits,
    shown: Callable[[], _Shown | None],
    widths: Mapping[str, Profile],
) -> list[Path]:
    """Draw all figures of a run into its folder; returns their paths."""
    options, folder = run.config["logger"], run.folder / "figures"
    formats = list(dict.fromkeys(("png", options.get("figures_format", "png"))))
    # The last parts of a folder, from the study on, are the name of its run.
    title = " / ".join(run.folder.parts[-4:])
    embeddings, labels, classes = tested.embeddings.cpu().numpy(), tested.labels.cpu().numpy(), splits.test.classes

    def plane() -> "Figure":
        method = options.get("projection", "pca")
        return projection(embeddings, labels, classes, title=title, method=method, seed=run.config["seed"])

    def gallery() -> "Figure | None":
        what = shown()
        if what is None or what.images is None:
            return None
        files = splits.file_names("test")
        if files is not None and tested.positions is not None:
            files = [files[position] for position in tested.positions.tolist()]
        return retrieval_gallery(
            what.images, what.labels, what.found, what.queries, classes, embeddings=embeddings, paths=files, title=title
        )

    def confused() -> "Figure | None":
        what = shown()
        return None if what is None else confused_pairs(what.labels, what.found, classes, title)

    def verified() -> "Figure | None":
        return roc(None if tested.pairs is None else tested.pairs.known, title)

    def write(name: str, draw: "Callable[[], Figure | None]") -> list[Path]:
        figure = draw()
        return [] if figure is None else save_as(figure, folder / name, formats)

    paths = write_history_figures(folder, history, best and best.epoch, title, formats)
    makers = {
        "projection": plane,
        "retrieval_gallery": gallery,
        "confused_classes": confused,
        "roc": verified,
        "spectrum": lambda: spectrum(widths, title),
    }
    for name, draw in makers.items():
        paths += guarded(name, partial(write, name, draw)) or []
    return paths


def _tables(tested: EvaluatedSet, data: DataModule, shown: Callable[[], _Shown | None]) -> dict[str, LoggedTable]:
    classes, what = data.splits.test.classes, shown()
    tables = {"classes": class_table(tested.ranked(), classes)}
    if what is not None:
        tables["gallery"] = gallery_table(*what, classes)
        side = None if tested.side is None else tested.side.cpu()
        on_cpu = EvaluatedSet(tested.embeddings.cpu(), tested.labels.cpu(), tested.scores, side=side)
        tables["hardest"] = hardest_table(what.images, on_cpu, data.splits.queries, classes)
    return tables
