"""Sections whose keys have moved hash as they did before."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from run_folders import CONFIG, changed, finish
from tiny_runs import COMPOSER

from metriscope.config.plain import flatten, plain
from metriscope.run.folder import open_run
from metriscope.run.identity import identity, relevant
from metriscope.run.study import load_study
from metriscope.run.vocabulary import of_format_2
from metriscope.sweeps.states import states_of

# What earlier versions hashed of the sections, with nothing changed.
BEFORE: dict[str, Any] = {
    "evaluation.batch_size": 512,
    "evaluation.classification": "auto",
    "evaluation.clustering": False,
    "evaluation.every_n_epochs": 1,
    "evaluation.knn_k": 10,
    "evaluation.layers": ["embedding"],
    "evaluation.linear_probe": True,
    "evaluation.mode": "max",
    "evaluation.monitor": "val/map_at_r",
    "evaluation.mrr": True,
    "evaluation.name": "default",
    "evaluation.per_class": False,
    "evaluation.precision_at": [1],
    "evaluation.recall_at": [1, 2, 4, 8],
    "diagnostics.greediness": True,
    "diagnostics.name": "default",
    "diagnostics.pair_weight_threshold": 1.0e-3,
    "diagnostics.variance": True,
}
MINE = "{_target_: my.Own, size: 2}"


def of(*words: str) -> dict[str, Any]:
    cfg = COMPOSER(["dataset=digits", *words])
    return changed(changed(CONFIG, "evaluation", plain(cfg.evaluation)), "diagnostics", plain(cfg.diagnostics))


def test_the_hash_of_the_defaults_is_fixed() -> None:
    assert identity(of()) == "6ceed2eccf0b8c54e8499562b7636f11c7dec5f26c336aca67dfb6136a6123bb"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], {}),
        (["evaluation.metrics.recall_at.k=[1,2]"], {"evaluation.recall_at": [1, 2]}),
        (["evaluation.metrics.precision_at.k=[5]"], {"evaluation.precision_at": [5]}),
        (["evaluation.metrics.mrr=false"], {"evaluation.mrr": False}),
        (["evaluation.metrics.knn_accuracy.k=5"], {"evaluation.knn_k": 5}),
        (["evaluation.metrics.linear_probe_accuracy=null"], {"evaluation.linear_probe": False}),
        (["evaluation.metrics.clustering=true"], {"evaluation.clustering": True}),
        (
            ["diagnostics=none"],
            {"diagnostics.name": "none", "diagnostics.greediness": False, "diagnostics.variance": False},
        ),
        (["diagnostics.greediness.pair_weight_threshold=0.5"], {"diagnostics.pair_weight_threshold": 0.5}),
        (["diagnostics.variance=false"], {"diagnostics.variance": False}),
        (
            [f"+evaluation.metrics.mine={MINE}"],
            {"evaluation.metrics.mine._target_": "my.Own", "evaluation.metrics.mine.size": 2},
        ),
        (
            [f"+diagnostics.mine={MINE}"],
            {"diagnostics.own.mine._target_": "my.Own", "diagnostics.own.mine.size": 2},
        ),
    ],
)
def test_what_could_be_said_before_is_said_in_the_same_words(words: list[str], said: dict[str, Any]) -> None:
    found = relevant(of_format_2(flatten(of(*words))))
    assert {k: v for k, v in found.items() if k.startswith(("evaluation.", "diagnostics."))} == {**BEFORE, **said}


def test_earlier_words_stay() -> None:
    before = {key: value for key, value in CONFIG.items() if key not in ("evaluation", "diagnostics")}
    flat = {**flatten(before), **BEFORE}
    assert of_format_2(flat) == flat
    assert identity(flat) == identity(of())


def test_what_could_not_be_said_before_is_another_run() -> None:
    deep = "+evaluation.metrics.deep={{_target_: metriscope.evaluation.shipped.{0}, k: [100]}}"
    watch = "+diagnostics.watch={_target_: metriscope.callbacks.variance.VarianceMonitor}"
    others = [
        [f"evaluation.metrics.{name}=null"]
        for name in ("recall_at", "precision_at", "map_at_r", "r_precision", "queries_skipped", "knn_accuracy")
    ]
    others += [["evaluation.metrics.linear_probe_accuracy.max_iterations=9"], [deep.format("RecallAt")]]
    others += [[deep.format("PrecisionAt")], [watch], ["evaluation.metrics=null"], []]
    others += [["evaluation.metrics.recall_at._target_=my.RecallAt"]]
    others += [["evaluation.metrics.clustering={_target_: metriscope.evaluation.shipped.Clustering, seed: 1}"]]
    others += [["diagnostics.greediness.negative_spread=true"], ["evaluation.metrics.uniformity=true"]]
    assert len({identity(of(*words)) for words in others}) == len(others)
    off = ["diagnostics.greediness.negative_spread=false", "evaluation.metrics.uniformity=false"]
    assert identity(of(*off)) == identity(of())
    same = ["evaluation.metrics.clustering={_target_: metriscope.evaluation.shipped.Clustering, seed: 0}"]
    assert identity(of(*same)) == identity(of("evaluation.metrics.clustering=true"))


def test_a_switch_that_was_set_after_composing_says_the_same() -> None:
    off, on = changed(of(), "evaluation.metrics.mrr", False), changed(of(), "diagnostics.variance", True)
    assert identity(off) == identity(of("evaluation.metrics.mrr=null"))
    assert identity(on) == identity(of())


def test_a_run_folder_of_before_is_found_read_and_compared(tmp_path: Path) -> None:
    config = changed(of(), "paths.output_dir", str(tmp_path))
    folder = finish(config).folder
    stored = {key: value for key, value in config.items() if key not in ("evaluation", "diagnostics")}
    for key, value in BEFORE.items():
        section, _, name = key.partition(".")
        stored.setdefault(section, {})[name] = value
    (folder / "config.yaml").write_text(yaml.safe_dump(stored, sort_keys=False))
    finish(changed(config, "seed", 4))
    first, second = load_study(tmp_path / "trial").runs
    differing = {key for key in first.config if first.config[key] != second.config.get(key)}
    other = differing | (second.config.keys() - first.config.keys())
    assert {key.removeprefix("evaluation.") for key in other} <= {
        "seed", "memory_mb", "save_embeddings", "per_query", "spectrum", "pairs", "distractors", "mode", "weights"
    }  # fmt: skip
    assert [state.status for state in states_of(tmp_path / "trial")] == ["finished", "finished"]
    with open_run(config) as run:
        assert run.finished
        assert run.folder == folder
