"""Importances of parameters against tables whose answer is known, and against Optuna asked directly."""

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.importance import FanovaImportanceEvaluator

from metriscope.errors import InputError
from metriscope.reports.importances import importances

RANGES = {"loss.margin": "interval(0,1)", "optimizer.lr": "tag(log,interval(1e-5,1e-1))", "miner.kind": "hard,easy"}


def table(n: int = 24) -> list[tuple[dict, float]]:
    draw = np.random.default_rng(0)
    rows = []
    for _ in range(n):
        params = {"loss.margin": draw.random(), "optimizer.lr": 10 ** draw.uniform(-5, -1)}
        rows.append((params | {"miner.kind": str(draw.choice(["hard", "easy"]))}, params["loss.margin"] ** 2))
    return rows


def test_the_only_parameter_that_matters_comes_first() -> None:
    found = importances(table(), RANGES)
    assert next(iter(found)) == "loss.margin"
    assert found["loss.margin"] > 0.9
    assert found.keys() == RANGES.keys()
    assert sum(found.values()) == pytest.approx(1)
    assert found == importances(table(), RANGES), "the forest has a seed"
    categories = [(params, float(params["miner.kind"] == "hard")) for params, _ in table()]
    assert importances(categories, RANGES)["miner.kind"] > 0.9


def test_it_is_the_fanova_of_optuna() -> None:
    ranges = {key: RANGES[key] for key in ("loss.margin", "optimizer.lr")}
    space = {"loss.margin": FloatDistribution(0, 1), "optimizer.lr": FloatDistribution(1e-5, 1e-1, log=True)}
    study = optuna.create_study()
    rows = [({key: params[key] for key in ranges}, value + params["optimizer.lr"]) for params, value in table()]
    for params, value in rows:
        study.add_trial(optuna.create_trial(params=params, distributions=space, value=value))
    direct = optuna.importance.get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0))
    assert importances(rows, ranges) == pytest.approx(direct)


def test_too_little_to_tell() -> None:
    assert importances(table(9), RANGES) is None
    assert importances([(params, 0.5) for params, _ in table()], RANGES) is None
    assert importances([({}, value) for _, value in table()], RANGES) is None


def test_a_default_beyond_the_interval_widens_it() -> None:
    assert importances([({"loss.margin": 2.0}, 0.1), *table()], {"loss.margin": "interval(0,1)"}) == {"loss.margin": 1}


def test_without_optuna(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install optuna"):
        importances(table(), RANGES)
