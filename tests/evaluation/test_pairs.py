"""Measures of pairs and of coverage against loops over all pairs, and the worked examples of their papers."""

import math

import pytest
import torch
from torch import Tensor

from metriscope.evaluation import pairs
from metriscope.evaluation.coverage import uniformity, utilization
from metriscope.evaluation.embedded import EvaluatedSet, References
from metriscope.evaluation.pairs import alignment, pair_auc, pair_auc_hard, tolerance
from metriscope.evaluation.set_metric import build_metrics
from metriscope.evaluation.verification import scores, tiled

EX = torch.tensor(
    [(1, 0), (0.8, 0.6), (0.28, -0.96), (0.6, 0.8), (0, 1), (-0.96, 0.28)], dtype=torch.float64
)  # fmt: skip
CLASSES = torch.tensor([0, 0, 0, 1, 1, 2])
COMMON = torch.deg2rad(torch.tensor([0, 30, 40, 80, 120, 200], dtype=torch.float64))


def on_circle(angles: Tensor) -> Tensor:
    return torch.stack([angles.cos(), angles.sin()], 1)


def drawn(count: int = 40, size: int = 3) -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(0)
    return torch.randn(count, size, generator=source), torch.randint(7, (count,), generator=source)


def cosine(a: Tensor, b: Tensor) -> float:
    a, b = a.double(), b.double()
    return float(a @ b / a.norm() / b.norm())


def area(positive: list[float], negative: list[float]) -> float:
    won = [1.0 if p > n else 0.5 if p == n else 0.0 for p in positive for n in negative]
    return sum(won) / len(won)


def both_sides(z: Tensor, labels: Tensor) -> tuple[list[float], list[float]]:
    """Of the pairs i < j, positive and negative."""
    found: tuple[list[float], list[float]] = [], []
    for i in range(len(z)):
        for j in range(i + 1, len(z)):
            found[int(labels[i] != labels[j])].append(cosine(z[i], z[j]))
    return found


@pytest.fixture(params=[2**22, 90], ids=["one block", "blocks"])
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "BLOCK_PAIRS", request.param)
    monkeypatch.setattr(tiled, "SIDE", 1024 if request.param == 2**22 else 7)
    monkeypatch.setattr(scores, "GRID", 2**16 if request.param == 90 else scores.GRID)


@pytest.mark.usefixtures("blocks")
def test_measures_are_those_of_loops_over_pairs() -> None:
    z, labels = drawn()
    positive, negative = both_sides(z, labels)
    squares = [2 - 2 * s for s in positive + negative]
    assert uniformity(z) == pytest.approx(math.log(sum(math.exp(-2 * d) for d in squares) / len(squares)), abs=1e-12)
    assert uniformity(z, 900.0) == pytest.approx(
        math.log(sum(math.exp(-900 * (d - min(squares))) for d in squares) / len(squares)) - 900 * min(squares)
    )
    assert tolerance(z, labels) == pytest.approx(sum(positive) / len(positive), abs=1e-12)
    assert alignment(z, labels) == pytest.approx(2 - 2 * tolerance(z, labels), abs=1e-12)
    grid = [[round(s * scores.GRID) for s in side] for side in (positive, negative)]
    assert pair_auc(z, labels) == pytest.approx(area(*grid), abs=1e-12)
    assert area(*grid) == pytest.approx(area(positive, negative), abs=1e-4)


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("k", [1, 5, 500])
def test_hard_pairs_are_the_nearest_negatives_of_each_sample(k: int) -> None:
    z, labels = drawn()
    positive, negative = [], []
    for i in range(len(z)):
        found = [
            (round(cosine(z[i], z[j]) * scores.GRID), bool(labels[i] == labels[j])) for j in range(len(z)) if j != i
        ]
        positive += [s for s, same in found if same]
        negative += sorted((s for s, same in found if not same), reverse=True)[:k]
    assert pair_auc_hard(z, labels, k) == pytest.approx(area(positive, negative), abs=1e-12)
    if k == 500:
        assert pair_auc_hard(z, labels, k) == pytest.approx(pair_auc(z, labels), abs=1e-12)


def test_the_worked_examples() -> None:
    assert uniformity(EX) == pytest.approx(-1.874974055679, abs=1e-12)
    assert alignment(EX, CLASSES) == pytest.approx(1.236, abs=1e-12)
    assert tolerance(EX, CLASSES) == pytest.approx(0.382, abs=1e-12)
    assert pair_auc(EX, CLASSES) == pytest.approx(1 - 44 / 176, abs=1e-12)
    z, labels = on_circle(COMMON), torch.arange(3).repeat_interleave(2)
    assert alignment(z, labels) == pytest.approx(0.796187983620, abs=1e-12)
    assert uniformity(z) == pytest.approx(-1.584064436898, abs=1e-12)
    asking = on_circle(torch.deg2rad(torch.tensor([60.0, 170.0], dtype=torch.float64)))
    assert utilization(asking, z) == pytest.approx(0.194281975430, abs=1e-12)
    # A share of 0.3 of the positive and 0.7 of the negative, for each of the 24 triplets.
    of = labels.tolist()
    triplets = [
        (p, n) for a in range(6) for p in range(6) for n in range(6) if p != a and of[p] == of[a] and of[n] != of[a]
    ]
    mixed = torch.cat([z, torch.stack([0.3 * z[p] + 0.7 * z[n] for p, n in triplets])])
    assert utilization(asking, mixed) == pytest.approx(0.003702638236, abs=1e-12)


def test_utilization_is_that_of_a_loop() -> None:
    (z, _), (known, _) = drawn(20), drawn(50)
    known = known[20:] * 3
    nearest = [min(2 - 2 * cosine(q, x) for x in known) for q in z]
    assert utilization(z, known) == pytest.approx(sum(nearest) / len(nearest), abs=1e-6)
    assert utilization(z, z * 2) == pytest.approx(0, abs=1e-12)


def test_collapse_duplicates_and_no_pairs() -> None:
    z, labels = torch.randn(1, 8).expand(5, 8), torch.tensor([0, 0, 1, 1, 2])
    assert uniformity(z) == pytest.approx(0, abs=1e-12)
    assert alignment(z, labels) == pytest.approx(0, abs=1e-12)
    assert tolerance(z, labels) == pytest.approx(1, abs=1e-12)
    assert pair_auc(z, labels) == pair_auc_hard(z, labels, 1) == 0.5
    alone = torch.arange(5)
    assert all(math.isnan(of(z, alone)) for of in (alignment, tolerance, pair_auc, pair_auc_hard))
    assert math.isnan(pair_auc(z, alone * 0))
    assert math.isnan(uniformity(z[:1]))
    assert uniformity(torch.zeros(3, 2)) == pytest.approx(-4), "a vector without direction has cosine 0 with all"


def test_what_has_no_pair_is_left_out() -> None:
    names = ("pair_auc", "pair_auc_hard", "alignment", "tolerance", "uniformity", "utilization")
    classes = ("PairAUC", "PairAUCHard", "Alignment", "Tolerance", "Uniformity", "Utilization")
    section = {name: {"_target_": f"metriscope.metrics.{part}"} for name, part in zip(names, classes, strict=True)}
    found = build_metrics({"metrics": section})
    whole = EvaluatedSet(EX, CLASSES, references=References(EX, CLASSES))
    figures = {key: value for one in found for key, value in one.of(whole).items()}
    assert figures.keys() == set(names)
    assert figures["tolerance"] == pytest.approx(0.382)
    single = EvaluatedSet(EX[:1], CLASSES[:1], references=References(EX[:0], CLASSES[:0]))
    assert not any(one.of(single) for one in found)
    assert [one.asked.key for one in found if one.asked.at_end] == ["utilization"]
