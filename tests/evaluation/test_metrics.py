"""The registry knows every logged key, and says the field's directions."""

import subprocess
import sys

import pytest
import torch
from tiny_runs import COMPOSER

from metriscope.build.run import objective_of
from metriscope.config.files import choices, section
from metriscope.config.objective import shipped
from metriscope.config.plain import plain
from metriscope.evaluation.metrics import (
    HEADLINES,
    direction_of,
    following,
    logged,
    metric_of,
    ordered,
    title_of,
)
from metriscope.evaluation.registry import METRICS
from metriscope.objectives.samples import Spaces
from metriscope.reports.history_metrics import COURSE


@pytest.mark.parametrize(
    ("key", "title", "direction"),
    [
        ("test/mrr", "MRR", "max"),
        ("recall_at_16", "Recall@16", "max"),
        ("best/val/recall_at_4_trunk", "Recall@4 (trunk)", "max"),
        ("train/loss_mean", "mean loss", "min"),
        ("val/loss", "loss", "min"),
        ("train/loss_step", "loss", "min"),
        ("val/loss_2", "loss, part 2", "min"),
        ("test/variance_intra_raw_trunk", "intra-class variance (raw) (trunk)", None),
        ("val/variance_ratio", "variance ratio intra / inter", None),
        ("train/grad_norm_trunk", "gradient norm, trunk", None),
        ("course/active_ratio", "active ratio", None),
        ("val/queries_skipped", "queries skipped", None),
        ("val/recall_at_x", "recall_at_x", None),
        ("val/unheard_of", "unheard_of", None),
    ],
)
def test_a_key_is_known_whatever_its_split_and_suffix(key, title, direction):
    assert (title_of(key), direction_of(key)) == (title, direction)


@pytest.mark.parametrize("key", ["val/recall_at_x", "recall_at_", "val/unheard_of", "_trunk", "", "val/"])
def test_other_keys_are_not_known(key):
    assert metric_of(key) is None


def test_every_key_stands_once():
    keys = [metric.key for metric in METRICS]
    assert len(set(keys)) == len(keys)
    titles = [metric.title for metric in METRICS]
    assert len(set(titles)) == len(titles)
    assert all(metric.definition and metric.splits for metric in METRICS)
    assert {"test/" + name for name in HEADLINES} == set(logged("test", *HEADLINES))


def test_no_variance_has_a_better_end():
    assert {metric.direction for metric in METRICS if metric.section in ("variance", "greediness", "course")} == {None}
    sections = ("retrieval", "classification", "clustering")
    named = [metric for metric in METRICS if metric.section in sections and metric.key != "queries_skipped"]
    assert {metric.direction for metric in named} == {"max"}


def test_the_order_is_that_of_the_registry_and_of_k():
    keys = ["val/loss", "test/recall_at_16", "val/recall_at_2", "test/recall_at_2", "val/recall_at_1_trunk", "val/x"]
    assert [metric.key for metric in ordered(keys)] == ["recall_at_2", "recall_at_16", "loss"]


def test_a_view_cannot_name_what_is_not_there():
    with pytest.raises(KeyError, match="recal"):
        logged("test", "recal_at_1")


def test_null_follows_the_metric():
    assert following("val/loss", {"monitor": "val/map_at_r", "mode": "max"}) == "min"
    assert following("val/variance_intra", {"monitor": "val/variance_intra", "mode": "min"}) == "min"
    assert following("val/variance_intra", {"monitor": "val/map_at_r", "mode": "max"}) is None


def test_the_course_of_a_run_is_known():
    assert all(metric_of(key) for key in COURSE)


def test_the_registry_takes_no_torch():
    modules = "metriscope.evaluation.metrics, metriscope.evaluation.monitors, metriscope.evaluation.set_metric"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("loss", [name for name in choices("loss") if name not in ("sum", "pml")])
def test_every_part_of_a_loss_is_known(loss):
    config = plain(COMPOSER(["dataset=digits", f"loss={loss}"]))
    further = {"reduction": "sum", "mean_weight": 0.1}
    config["loss"] |= {key: value for key, value in further.items() if key in config["loss"]}
    if shipped("loss")[loss].accepts == {"none"}:
        config["miner"] = plain(section("miner", "none"), resolve=False)
    z = torch.nn.functional.normalize(torch.randn(12, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    labels = torch.arange(3).repeat_interleave(4)
    step = objective_of(config, num_classes=3, embedding_size=8)(Spaces.of(z, labels, trunk=z))
    for key in step.output.parts:
        metric = metric_of(key)
        assert metric is not None, key
        assert metric.splits == ("train", "val")


@pytest.mark.parametrize(
    "words",
    [
        ["loss=sum", "loss.losses=[{name: triplet}, {name: contrastive}]"],
        [
            "evaluation.layers=[trunk,embedding]",
            "evaluation.metrics.clustering=true",
            "evaluation.metrics.uniformity=true",
            "evaluation.classification=true",
            "diagnostics.greediness.negative_spread=true",
            "diagnostics.greediness.batch_hardness=true",
        ],
    ],
    ids=lambda words: words[0],
)
def test_all_that_a_run_logs_is_known(run, words):
    outcome = run("trainer.max_epochs=1", *words)
    header = (outcome.folder / "metrics.csv").read_text().splitlines()[0].split(",")
    keys = {*header, *outcome.metrics} - {"epoch", "step", "best/epoch"}
    assert len(keys) > 40
    for key in keys:
        metric = metric_of(key)
        assert metric is not None, key
        split = key.removeprefix("best/").partition("/")[0]
        assert split in metric.splits, key
