"""The models of all folds as one embedding [MLRC] arXiv:2003.08505: an evaluation of the test embeddings they kept."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor

from metriscope.app import carry_out, load_checked
from metriscope.build.callbacks import build_evaluation
from metriscope.callbacks.evaluation import tested_labels
from metriscope.config.rules import check
from metriscope.data.splits import Splits
from metriscope.ending import described
from metriscope.errors import RunError
from metriscope.evaluation.embedded import EvaluatedSet
from metriscope.evaluation.per_query import per_query, write_per_query
from metriscope.evaluation.set_metric import build_metrics
from metriscope.fair.models import concatenated_config
from metriscope.files import write_json
from metriscope.outcome import Outcome, Parts
from metriscope.run.embeddings import read_embeddings
from metriscope.run.folder import Run
from metriscope.run.identity import folder_of, located
from metriscope.signals import Stop
from metriscope.unit import unit_rows

Config = Mapping[str, Any]


def concatenate(configs: Sequence[DictConfig], begun: float) -> Outcome:
    """Score the fold models of a repeat as one embedding, in a run folder of its own, unless that has been done.

    Costs what a test costs, of embeddings that are as many times as wide; nothing is embedded.

    Args:
        configs: of the finished runs of the models.
        begun: when the process began to work for it, in seconds of the monotonic clock.

    Raises:
        InputError: the data are others than those of the models.
        RunError: a model kept no embeddings of the test set.
    """
    checked = [located(check(config)) for config in configs]
    folders = [folder_of(config) for config in checked]
    return carry_out(concatenated_config(checked), partial(_execute, folders), lambda run, splits: Parts(), begun)


def concatenation(parts: Sequence[Tensor]) -> Tensor:
    """Embeddings (N, D1), (N, D2), ... to (N, D1 + D2 + ...): each of unit length, and so the whole."""
    return unit_rows(torch.cat([unit_rows(part) for part in parts], dim=1))


def _execute(folders: Sequence[Path], run: Run, stop: Stop) -> Outcome:
    splits = load_checked(run)
    run.record_data(splits.fingerprint)
    whole = concatenation([_embeddings(folder, splits) for folder in folders])
    evaluation = run.config["evaluation"]
    monitor = build_evaluation(evaluation)
    tested = monitor.judge(splits, whole, tested_labels(splits))
    metrics = _figures(evaluation, tested)
    write_json(run.folder / "summary.json", metrics)
    run.record_metrics(described(metrics, evaluation))
    if evaluation.get("per_query"):
        of = splits.test.classes, splits.file_names("test"), splits.queries, evaluation["memory_mb"]
        write_per_query(run.folder / "per_query.csv", per_query(tested, *of))
    return Outcome(metrics, run.folder)


def _embeddings(folder: Path, splits: Splits) -> Tensor:
    saved = read_embeddings(folder)
    if saved is None:
        raise RunError(f"{folder} holds no embeddings.npz: the same command trains this model again")
    labels = torch.from_numpy(saved.labels.copy())
    expected = tested_labels(splits)
    if not torch.equal(labels, expected):
        raise RunError(
            f"{folder / 'embeddings.npz'} holds {len(labels)} test samples that are not the {len(expected)} of the "
            "data: leave trainer.limit_test_batches out"
        )
    return torch.from_numpy(saved.embeddings.copy())


def _figures(evaluation: Config, tested: EvaluatedSet) -> dict[str, Any]:
    """All metrics of the test set but those that need embeddings of the training set."""
    found: dict[str, Any] = {}
    for one in build_metrics(evaluation):
        if not one.metric.references and any("test" in figure.splits for figure in one.asked.figures):
            found.update({f"test/{name}": value for name, value in one.of(tested).items()})
    return found
