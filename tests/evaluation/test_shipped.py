"""The metrics that ship, as a config asks for them: one search for all, the figures of the functions."""

import subprocess
import sys
from typing import Any

import pytest
import torch
from tiny_runs import COMPOSER

from metriscope.callbacks.evaluation import EvaluationMonitor
from metriscope.config.plain import plain
from metriscope.evaluation import retrieval
from metriscope.evaluation.classification import knn_accuracy, linear_probe_accuracy
from metriscope.evaluation.clustering import clustering_metrics
from metriscope.evaluation.embedded import EvaluatedSet, References
from metriscope.evaluation.measures import SKIPPED, Measures, together
from metriscope.evaluation.registry import METRICS
from metriscope.evaluation.retrieval import retrieval_metrics
from metriscope.evaluation.set_metric import SetMetric, asked_metrics, build_metrics
from metriscope.evaluation.shipped import SHIPPED, RecallAt
from metriscope.parts import ArgumentError


def asked(*words: str) -> dict[str, Any]:
    return plain(COMPOSER(["dataset=digits", *words]))["evaluation"]


@pytest.fixture
def points() -> tuple[torch.Tensor, torch.Tensor]:
    source = torch.Generator().manual_seed(0)
    labels = torch.randint(6, (120,), generator=source)
    return torch.randn(6, 5, generator=source)[labels] + torch.randn(120, 5, generator=source), labels


def evaluated(points: tuple[torch.Tensor, torch.Tensor], evaluation: dict[str, Any]) -> EvaluatedSet:
    monitor = EvaluationMonitor(build_metrics(evaluation))
    return monitor._evaluated(*points, torch.arange(len(points[1])))


def test_every_figure_of_these_sections_is_that_of_a_class() -> None:
    of_classes = [figure for part in SHIPPED.values() for figure in part.figures]
    sections = ("retrieval", "classification", "clustering", "pairs", "coverage", "modalities")
    assert sorted(one.key for one in of_classes) == sorted(one.key for one in METRICS if one.section in sections)
    assert all(figure in METRICS for figure in of_classes)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], {}),
        (["evaluation.metrics.recall_at.k=[3,50]"], {"recall_at": (3, 50)}),
        (
            ["evaluation.metrics.precision_at.k=[2]", "evaluation.metrics.mrr=false"],
            {"precision_at": (2,), "mrr": False},
        ),
    ],
)
def test_one_search_gives_all_figures(
    points: tuple[torch.Tensor, torch.Tensor], words: list[str], expected: dict[str, Any], monkeypatch: Any
) -> None:
    searches, search = [], retrieval.visit_nearest

    def counted(*arguments: Any, **options: Any) -> None:
        searches.append(arguments[2].max().item())
        search(*arguments, **options)

    monkeypatch.setattr(retrieval, "visit_nearest", counted)
    whole = retrieval_metrics(*points, **expected)
    metrics = build_metrics(asked(*words))
    embedded = evaluated(points, asked(*words))
    found = {key: value for one in metrics if not one.asked.at_end for key, value in one.of(embedded).items()}
    assert found == whole
    assert len(searches) == 2, "one of the function, one of the classes"
    assert searches[0] == searches[1], "no deeper than it has to be"


def test_without_metrics_of_neighbours_none_are_searched(
    points: tuple[torch.Tensor, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(retrieval, "visit_nearest")
    evaluation = {"metrics": {"clustering": {"_target_": "metriscope.evaluation.shipped.Clustering", "seed": 3}}}
    embedded = evaluated(points, evaluation)
    assert embedded.scores is None
    (one,) = build_metrics(evaluation)
    assert one.of(embedded) == clustering_metrics(*points, 3)


def test_figures_fitted_on_the_training_set(points: tuple[torch.Tensor, torch.Tensor]) -> None:
    z, labels = points
    embedded = EvaluatedSet(z[60:], labels[60:], references=References(z[:60], labels[:60]))
    sides = z[:60], labels[:60], z[60:], labels[60:]
    words = ["evaluation.metrics.knn_accuracy.k=3", "evaluation.metrics.linear_probe_accuracy.inverse_penalty=0.01"]
    metrics = [one for one in build_metrics(asked(*words)) if one.metric.references]
    assert {key: value for one in metrics for key, value in one.of(embedded).items()} == {
        "knn_accuracy": knn_accuracy(*sides, 3),
        "linear_probe_accuracy": linear_probe_accuracy(*sides, inverse_penalty=0.01),
    }
    assert all(one.asked.at_end for one in metrics)


def test_what_is_asked_of_a_search_comes_together() -> None:
    assert together([]) is None
    assert together([SKIPPED, SKIPPED._replace(recall_at=(4, 1)), SKIPPED._replace(recall_at=(2, 4), mrr=True)]) == (
        Measures((1, 2, 4), (), map_at_r=False, mrr=True)
    )
    assert (SKIPPED.depth, Measures().depth, Measures(precision_at=(20,)).depth) == (1, 8, 20)


def test_a_family_says_what_it_logs() -> None:
    (one,) = asked_metrics({"metrics": {"recall_at": {"_target_": "metriscope.metrics.RecallAt", "k": [10, 1, 10]}}})
    assert [(figure.key, figure.title) for figure in one.figures] == [
        ("recall_at_10", "Recall@10"),
        ("recall_at_1", "Recall@1"),
    ]
    assert RecallAt([10, 1, 10]).k == (10, 1)
    with pytest.raises(ArgumentError, match="k=0: it has to be a list of one or more whole numbers of at least 1"):
        RecallAt(0)  # type: ignore[arg-type]


def test_what_ships_is_judged_without_torch() -> None:
    code = (
        "import sys; from metriscope.config.compose import compose_config;"
        "from metriscope.config.rules import check_keys;"
        "check_keys(compose_config(['evaluation.metrics.clustering=true', 'evaluation.monitor=val/recall_at_4']));"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_run_with_few_metrics_logs_no_more(run: Any) -> None:
    off = ("precision_at", "mrr", "r_precision", "queries_skipped")
    # It takes the training set, though not its classes: the two halves share none.
    on = "evaluation.metrics.utilization=true"
    metrics = run(*(f"evaluation.metrics.{name}=null" for name in off), on, "trainer.max_epochs=1").metrics
    sections = ("retrieval", "classification", "clustering", "pairs", "coverage", "modalities")
    keys = {key for one in METRICS if one.section in sections for key in metrics if one.named(key.rpartition("/")[2])}
    names = ("recall_at_1", "recall_at_2", "map_at_r")
    assert keys == {f"{split}/{name}" for split in ("val", "best/val", "test") for name in names} | {"test/utilization"}


def test_base_classes_say_nothing() -> None:
    assert SetMetric().measures() is None
