"""Parts by name: true, false and null in place of their sections."""

from pathlib import Path
from typing import Any

import pytest
from tiny_runs import COMPOSER

from metriscope.config.compose import compose_config
from metriscope.config.plain import plain
from metriscope.config.rules import check
from metriscope.config.switches import switched
from metriscope.errors import InputError
from metriscope.evaluation.monitors import GREEDINESS, VARIANCE
from metriscope.evaluation.shipped import SHIPPED
from metriscope.parts import defaults_of


def test_true_is_what_ships_and_false_is_nothing() -> None:
    shipped: dict[str, Any] = plain(COMPOSER([]))
    metrics, diagnostics = shipped["evaluation"]["metrics"], shipped["diagnostics"]
    assert metrics.keys() == SHIPPED.keys()
    given = {"evaluation": {"metrics": dict.fromkeys(metrics, True)}}
    given["diagnostics"] = {key: value if key == "name" else True for key, value in diagnostics.items()}
    found = switched(given)
    classes = {name: {"_target_": f"metriscope.evaluation.shipped.{part.__name__}"} for name, part in SHIPPED.items()}
    assert found["evaluation"]["metrics"] == {name: metrics[name] or section for name, section in classes.items()}
    assert found["diagnostics"] == diagnostics
    off = switched({"evaluation": {"metrics": {"mrr": False, "mine": False}}, "diagnostics": {"mine": False}})
    assert off == {"evaluation": {"metrics": {"mrr": None, "mine": None}}, "diagnostics": {"mine": None}}
    assert switched({"evaluation": {"metrics": None}}) == {"evaluation": {"metrics": None}}


def test_monitors_are_known_by_the_classes_that_ship() -> None:
    diagnostics = plain(COMPOSER([]))["diagnostics"]
    assert diagnostics["greediness"]["_target_"] == GREEDINESS
    assert diagnostics["variance"]["_target_"] == VARIANCE


@pytest.mark.parametrize("name", SHIPPED)
def test_the_arguments_that_ship_are_the_defaults_of_the_class(name: str) -> None:
    section = plain(COMPOSER([]))["evaluation"]["metrics"][name]
    arguments = {key: value for key, value in (section or {}).items() if key != "_target_"}
    defaults = {key: list(one) if isinstance(one, tuple) else one for key, one in defaults_of(SHIPPED[name]).items()}
    assert arguments in (defaults, {})


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("+evaluation.metrics.mr=true", "evaluation.metrics.mr=true: none of this name ships; did you mean 'mrr'?"),
        ("+diagnostics.varance=true", "diagnostics.varance=true: none of this name ships; did you mean 'variance'?"),
        (
            "+diagnostics.varance=false",
            "diagnostics.varance=false: there is nothing of this name to switch off; did you mean 'variance'?",
        ),
        ("+diagnostics.varance=null", "diagnostics.varance=null: there is nothing of this name to switch off; did you"),
        (
            "+diagnostics.varance={}",
            "diagnostics.varance={}: there is nothing of this name to switch off; did you mean",
        ),
        ("+evaluation.metrics.knn=false", "evaluation.metrics.knn=false: there is nothing of this name to switch off"),
        ("+evaluation.metrics.name=false", "evaluation.metrics.name=false: there is nothing of this name to switch"),
        ("+callbacks.early_stoping=false", "callbacks.early_stoping=false: there is nothing of this name to switch"),
        ("evaluation.metrics=5", "evaluation.metrics=5: it has to be a mapping of parts by name, or null for none"),
        ("evaluation.metrics=[mrr]", "evaluation.metrics=[mrr]: it has to be a mapping, as what stands there"),
        ("diagnostics.variance=[]", "diagnostics.variance=[]: it has to be a mapping, as what stands there"),
        ("+diagnostics.variance.layers=[head]", "diagnostics.variance.layers=['head']: it has to be a list of"),
        ("+diagnostics=none", "+diagnostics=none: this group is chosen without a plus, diagnostics=none"),
        ("diagnostics.variance=often", "diagnostics.variance=often: it has to be one of true, false, or a mapping"),
        (
            "+evaluation.metrics.recall_at.kk=[1]",
            "evaluation.metrics.recall_at.kk: RecallAt takes no such argument; did you mean 'k'?",
        ),
        (
            "+evaluation.metrics.deep={_target_: metriscope.evaluation.shipped.RecallAt, k: [8,16]}",
            "evaluation.metrics.deep logs recall_at_8, as evaluation.metrics.recall_at does: switch one of them off",
        ),
        ("evaluation.metrics.mr=false", "evaluation.metrics.mr: no such key; did you mean 'evaluation.metrics.mrr'?"),
        (
            "evaluation.monitor=val/pair_auc",
            "evaluation.monitor=val/pair_auc: this run logs no such metric",
        ),
        (
            "diagnostics.greediness={pair_weight_threshold: null, negative_spread: true}",
            "diagnostics.greediness.negative_spread=true: it is made of pair weights, so it needs a",
        ),
        (
            "+diagnostics.greediness.threshold=1",
            "diagnostics.greediness.threshold: GreedinessMonitor takes no such argument; did you mean",
        ),
    ],
)
def test_what_cannot_be_is_one_line(word: str, line: str) -> None:
    with pytest.raises(InputError) as refused:
        check(COMPOSER([word]))
    assert str(refused.value).startswith(line)
    assert "\n" not in str(refused.value)


def test_a_diagnostic_is_monitored_where_it_is_asked_for() -> None:
    words = ["evaluation.monitor=val/negative_spread", "evaluation.mode=max"]
    check(compose_config([*words, "diagnostics.greediness.negative_spread=true"]))
    with pytest.raises(InputError, match=r"^evaluation\.monitor=val/negative_spread: this run logs no such metric"):
        check(compose_config(words))


@pytest.mark.parametrize("word", ["+evaluation.metrics.x=null", "+callbacks.x=null", "+callbacks.early_stopping=false"])
def test_nothing_under_a_name_of_its_own_is_nothing(word: str) -> None:
    assert switched(plain(COMPOSER([word])))["diagnostics"] == plain(COMPOSER([]))["diagnostics"]


def test_what_ships_needs_no_class() -> None:
    found = plain(COMPOSER(["+evaluation.metrics.clustering.seed=3"]))["evaluation"]["metrics"]["clustering"]
    assert found == {"_target_": "metriscope.evaluation.shipped.Clustering", "seed": 3}


def test_names_of_further_folders_can_be_switched_off(tmp_path: Path) -> None:
    files = {
        "evaluation/mine.yaml": "defaults: [default, _self_]\nname: mine\nmetrics: {mine: {_target_: my.Metric}}\n",
        "evaluation/less.yaml": "defaults: [mine, _self_]\nname: less\nmetrics: {mine: false}\n",
        "experiment/tried.yaml": "# @package _global_\ndiagnostics: {probe: {_target_: my.Probe}}\n",
        "sampler/half.yaml": "_target_: [\n",
        "experiment/typo.yaml": "# @package _global_\ndiagnostics: {varance: false}\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    for words in (["evaluation=mine", "evaluation.metrics.mine=false"], ["evaluation=less"]):
        assert compose_config(words, tmp_path).evaluation.metrics.mine is None
    assert compose_config(["experiment=tried", "diagnostics.probe=false"], tmp_path).diagnostics.probe is None
    with pytest.raises(InputError, match=r"^diagnostics\.varance=false: there is nothing of this name"):
        compose_config(["experiment=typo"], tmp_path)
    with pytest.raises(InputError, match=r"^a config cannot be read: .*half\.yaml\", line"):
        compose_config(["sampler=half"], tmp_path)
