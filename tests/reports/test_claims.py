import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from metriscope.reports.claims import Claim, Statement, judge
from metriscope.reports.sides import Side, change, gain, least, mean, most, peak, slope, spread
from metriscope.run.record import Record
from metriscope.run.study import StudyRun


def run(loss: str, seed: int, data: str = "digits", **metrics: float) -> StudyRun:
    config = {"dataset.name": data, "loss.name": loss, "seed": seed}
    values = {f"test/{name}": value for name, value in metrics.items()}
    return StudyRun(f"{data}/{loss}/{seed}", config, values, Record("finished"), lambda keys: [])


def of(*losses: str, kind: Callable[..., Side] = least) -> Side:
    return kind(*({"loss.name": loss} for loss in losses))


def claim(metric: str = "test/recall_at_1", comparable: str | None = None) -> Claim:
    return Claim(1, "a paper", "a beats b", [Statement("a beats b", metric, of("a"), of("b"), comparable)])


@pytest.mark.parametrize(
    ("gaps", "verdict"),
    [
        ((0.1, 0.11, 0.12), "holds"),
        ((-0.1, -0.11, -0.12), "does not hold"),
        ((0.1, -0.11, 0.12), "undecided"),
        ((0.1,), "undecided"),
        ((0.2, 0.2, 0.2), "holds"),
        ((0.0, 0.0, 0.0), "undecided"),
    ],
)
def test_a_statement_is_judged_by_its_interval(gaps, verdict):
    runs = [run("b", seed, recall_at_1=0.5) for seed in range(len(gaps))]
    runs += [run("a", seed, recall_at_1=0.5 + gap) for seed, gap in enumerate(gaps)]
    judgement = judge(claim(), runs)
    (finding,) = judgement.findings
    assert judgement.verdict == finding.verdict == verdict
    assert finding.difference.mean == pytest.approx(sum(gaps) / len(gaps))
    assert len(finding.runs) == 2 * len(gaps)


def test_a_claim_has_to_hold_on_all_data_sets():
    runs = [run(loss, seed, data, recall_at_1=value + seed / 1000)
            for data, values in {"x": {"a": 0.9, "b": 0.8}, "y": {"a": 0.7, "b": 0.9}}.items()
            for loss, value in values.items() for seed in range(3)]  # fmt: skip
    assert [finding.verdict for finding in judge(claim(), runs).findings] == ["holds", "does not hold"]
    assert judge(claim(), runs).verdict == "does not hold"
    assert judge(claim(), runs[:6]).verdict == "holds"
    assert judge(claim(), [*runs[:6], run("a", 0, "z", recall_at_1=1.0)]).verdict == "undecided"


def test_seeds_without_a_partner_do_not_count():
    runs = [run("a", seed, recall_at_1=0.9) for seed in range(4)] + [run("b", 3, recall_at_1=0.8)]
    (finding,) = judge(claim(), runs).findings
    assert finding.difference.n == 1
    assert list(finding.runs) == ["digits/a/3", "digits/b/3"]


def test_the_weakest_of_one_side_meets_the_strongest_of_the_other():
    statement = Statement("a and b beat c and d", "test/recall_at_1", of("a", "b"), of("c", "d", kind=most))
    values = {"a": 0.9, "b": 0.6, "c": 0.5, "d": 0.55}
    runs = [run(loss, seed, recall_at_1=value) for loss, value in values.items() for seed in range(3)]
    (finding,) = judge(Claim(4, "a paper", "", [statement]), runs).findings
    assert finding.difference.mean == pytest.approx(0.05)
    assert finding.verdict == "holds"


def test_losses_that_are_not_comparable_are_not_judged():
    asked = claim("test/variance_intra", "test/knn_accuracy")
    runs = [run("a", seed, variance_intra=0.5, knn_accuracy=0.9) for seed in range(3)]
    alike = [run("b", seed, variance_intra=0.1, knn_accuracy=0.88) for seed in range(3)]
    apart = [run("b", seed, variance_intra=0.1, knn_accuracy=0.7) for seed in range(3)]
    unknown = [run("b", seed, variance_intra=0.1) for seed in range(3)]
    assert judge(asked, runs + alike).verdict == "holds"
    for others, reason in ((apart, "differs by 0.200"), (unknown, "missing")):
        (finding,) = judge(asked, runs + others).findings
        assert finding.verdict == "undecided"
        assert reason in finding.reason


def at(value: float, seed: int, noise: float | None = None, **metrics: float) -> StudyRun:
    made = run("a", seed, **metrics)
    config = {**made.config, "loss.temperature": value, "dataset.label_noise": noise}
    return replace(made, name=f"{value}/{noise}/{seed}", config=config)


SETTINGS = (0.1, 0.2, 0.4)
CLEAN, NOISY = ({"dataset.label_noise": noise} for noise in (None, 0.2))


def swept(**values: Sequence[float]) -> list[StudyRun]:
    """Runs over three temperatures, whose Recall@1 differs a little between seeds."""
    return [
        at(setting, seed, 0.2 if labels == "noisy" else None, recall_at_1=value + seed / 1e6)
        for labels, row in values.items()
        for setting, value in zip(SETTINGS, row, strict=True)
        for seed in range(3)
    ]


@pytest.mark.parametrize(
    ("side", "difference"),
    [
        (slope("loss.temperature", SETTINGS, CLEAN), 0.1),
        (peak("loss.temperature", SETTINGS, CLEAN), math.log2(0.4)),
        (spread("loss.temperature", SETTINGS, CLEAN), 0.2),
        (least({"loss.temperature": 0.1, **CLEAN}), 0.5),
        (most({"loss.temperature": 0.1, **CLEAN}, {"loss.temperature": 0.4, **CLEAN}), 0.7),
        (change({"loss.temperature": 0.4, **CLEAN}, {"loss.temperature": 0.2, **CLEAN}), 0.1),
    ],
)
def test_a_side_is_one_figure_per_seed(side: Side, difference: float) -> None:
    runs = swept(clean=(0.5, 0.6, 0.7), noisy=(0.9, 0.1, 0.0))
    (finding,) = judge(Claim(1, "a paper", "", [Statement("s", "test/recall_at_1", side)]), runs).findings
    assert finding.difference is not None
    assert finding.difference.n == 3
    assert finding.difference.mean == pytest.approx(difference, abs=1e-5)


def test_sides_of_one_kind_are_compared() -> None:
    runs = swept(clean=(0.7, 0.6, 0.5), noisy=(0.5, 0.6, 0.4))
    noisy, clean = (peak("loss.temperature", SETTINGS, where) for where in (NOISY, CLEAN))
    (finding,) = judge(Claim(1, "a paper", "", [Statement("up", "test/recall_at_1", noisy, clean)]), runs).findings
    assert finding.difference is not None
    assert (finding.verdict, finding.difference.mean) == ("holds", pytest.approx(1.0))
    assert len(finding.runs) == 18


def test_a_side_may_be_compared_with_a_number() -> None:
    above = Statement("above", "test/recall_at_1", least({"loss.temperature": 0.1}), 0.2)
    (finding,) = judge(Claim(1, "a paper", "", [above]), swept(clean=(0.5, 0.6, 0.7))).findings
    assert finding.difference is not None
    assert (finding.verdict, finding.difference.mean) == ("holds", pytest.approx(0.3, abs=1e-5))


def test_what_is_missing_is_named() -> None:
    gone = Statement("s", "test/recall_at_1", slope("loss.temperature", SETTINGS, NOISY))
    (finding,) = judge(Claim(1, "a paper", "", [gone]), swept(clean=(0.5, 0.6, 0.7))).findings
    assert (finding.verdict, finding.difference) == ("undecided", None)
    assert "label_noise=0.2, temperature=0.1" in finding.reason


def test_two_metrics_of_the_same_runs_on_some_data_sets():
    runs = [run(loss, seed, data, high=0.5 + seed + 0.1 * (loss == "a"), low=0.4 + seed)
            for data in ("x", "y") for loss in "ab" for seed in range(3)]  # fmt: skip
    groups = of("a", "b", kind=mean)
    statement = Statement("high is above low", "test/high", groups, groups, beside="test/low", data=("y",))
    (finding,) = judge(Claim(1, "a paper", "", [statement]), runs).findings
    assert (finding.data, finding.verdict, len(finding.runs)) == ("y", "holds", 6)
    assert finding.difference.mean == pytest.approx(0.15)
    absent = replace(statement, beside="test/none")
    (finding,) = judge(Claim(1, "a paper", "", [absent]), runs).findings
    assert finding.reason.startswith("no seed has test/high and test/none of ")


def test_a_gain_is_a_difference_of_means():
    side = gain([{"loss.name": "a"}, {"loss.name": "b"}], [{"loss.name": "c"}, {"loss.name": "d"}])
    assert len(side.cells) == 4
    assert side.of([1.0, 3.0, 0.5, 0.5]) == pytest.approx(1.5)
