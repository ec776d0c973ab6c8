"""Parts by name: true, false and null in place of their sections."""

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
    clustering = {"_target_": "metriscope.evaluation.shipped.Clustering"}
    assert found["evaluation"]["metrics"] == {**metrics, "clustering": clustering}
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
            "+diagnostics.greediness.threshold=1",
            "diagnostics.greediness.threshold: GreedinessMonitor takes no such argument; did you mean",
        ),
    ],
)
def test_what_cannot_be_is_one_line(word: str, line: str) -> None:
    with pytest.raises(InputError) as refused:
        check(compose_config([word]))
    assert str(refused.value).startswith(line)
    assert "\n" not in str(refused.value)
