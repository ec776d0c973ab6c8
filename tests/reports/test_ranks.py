import numpy as np
import pytest
from scipy import stats
from studies import made

from metriscope.reports.comparison import compare
from metriscope.reports.ranks import Ranking, cliques, critical_difference, rank_methods
from metriscope.reports.table_style import Written
from metriscope.run.study import Study


def ranked(datasets: int, seeds: int = 2) -> Study:
    """a is always best; b and c take turns."""
    quality = {"a": lambda d: 0.9, "b": lambda d: 0.5 + 0.1 * (d % 2), "c": lambda d: 0.55}
    return Study(
        "trial",
        [
            made(value(d) + 0.001 * s, dataset__name=f"data{d}", loss__name=name, seed=s)
            for d in range(datasets)
            for name, value in quality.items()
            for s in range(seeds)
        ],
    )


def test_ranks_and_critical_difference_by_hand() -> None:
    ranking = rank_methods(compare(ranked(6)))
    assert ranking is not None
    assert (ranking.methods, ranking.ranks) == (["a", "b", "c"], [1.0, 2.5, 2.5])
    # Demšar (2006), table 5: q = 2.343 for three methods at 5 %.
    assert ranking.critical == pytest.approx(2.343 * np.sqrt(3 * 4 / (6 * 6)), rel=1e-3)
    assert ranking.p < 0.05
    assert critical_difference(Written(compare(ranked(6)))) is not None


def test_no_ranking_of_too_little() -> None:
    assert rank_methods(compare(ranked(4))) is None
    few = ranked(6)
    few = Study("trial", [run for run in few.runs if run.config["loss.name"] != "c"])
    assert critical_difference(Written(compare(few))) is None
    assert rank_methods(compare(ranked(6), metrics=["test/variance_intra"])) is None


def test_cliques_join_what_is_not_told_apart() -> None:
    ranking = Ranking("m", list("abcd"), [1.0, 1.5, 2.4, 4.0], 6, 0.01, 1.0)
    assert cliques(ranking) == [(0, 1), (1, 2)]


def test_ranks_over_the_repeats_of_one_data_set() -> None:
    values = {"a": [0.9, 0.8, 0.9, 0.7, 0.9], "b": [0.5, 0.6, 0.5, 0.6, 0.5], "c": [0.4, 0.7, 0.4, 0.8, 0.4]}
    runs = [made(v, loss__name=name, seed=s) for name, own in values.items() for s, v in enumerate(own)]
    ranking = rank_methods(compare(Study("trial", runs)), over_repeats=True)
    assert ranking is not None
    assert (ranking.blocks, ranking.over) == (5, "repeats")
    # a is first in four repeats of five, c in one.
    assert dict(zip(ranking.methods, ranking.ranks, strict=True)) == pytest.approx({"a": 1.2, "c": 2.4, "b": 2.4})
    expected = stats.friedmanchisquare(*values.values()).pvalue
    assert ranking.p == pytest.approx(expected)
    assert critical_difference(Written(compare(Study("trial", runs))), over_repeats=True) is not None
    assert rank_methods(compare(Study("trial", runs))) is None, "one data set"
    runs = [run for run in runs if run.config["seed"] < 4]
    assert rank_methods(compare(Study("trial", runs)), over_repeats=True) is None
