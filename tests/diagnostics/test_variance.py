import math
from itertools import combinations

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor
from torch.nn.functional import normalize

from metriscope.diagnostics.variance import (
    COSINES,
    VARIANCES,
    ClassMoments,
    VarianceMetrics,
    variance_between,
    variance_total,
    variance_within,
)


def _safe_ratio(part: float, whole: float) -> float:
    return part / whole if whole else (0.0 if part == 0 else math.inf)


def variance_loop(z: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    groups = [z[labels == c] for c in sorted(set(labels.tolist()))]
    means = [g.mean(0) for g in groups]
    centre, middle = z.mean(0), np.mean(means, axis=0)
    intra = np.mean([np.mean([np.sum((x - m) ** 2) for x in g]) for g, m in zip(groups, means, strict=True)])
    inter = np.mean([np.sum((m - middle) ** 2) for m in means])
    pairs = [np.sum((a - b) ** 2) for a, b in combinations(means, 2)]
    within = sum(np.sum((x - m) ** 2) for g, m in zip(groups, means, strict=True) for x in g) / len(z)
    between = sum(len(g) * np.sum((m - centre) ** 2) for g, m in zip(groups, means, strict=True)) / len(z)
    return {
        "variance_intra": float(intra),
        "variance_inter": float(inter),
        "variance_inter_pairwise": float(np.mean(pairs)) if pairs else 0.0,
        "variance_inter_spread": _safe_ratio(float(np.std(pairs)), float(np.mean(pairs))) if pairs else 0.0,
        "variance_ratio": _safe_ratio(float(intra), float(inter)),
        "variance_within": float(within),
        "variance_between": float(between),
        "variance_total": float(np.mean([np.sum((x - centre) ** 2) for x in z])),
    }


def cosine_loop(unit: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    groups = [unit[labels == c] for c in sorted(set(labels.tolist()))]
    intra = [np.mean([1 - a @ b for a, b in combinations(g, 2)]) for g in groups if len(g) > 1]
    means = [g.mean(0) / np.linalg.norm(g.mean(0)) for g in groups]
    inter = [1 - a @ b for a, b in combinations(means, 2)]
    result = {
        "cosine_intra": float(np.mean(intra)) if intra else 0.0,
        "cosine_inter": float(np.mean(inter)) if inter else 0.0,
    }
    return result | {"pi_ratio": _safe_ratio(result["cosine_intra"], result["cosine_inter"])}


def sample(layout: list[int], size: int = 5, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Points of classes with the given sizes, shuffled, some of them empty."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.repeat_interleave(torch.arange(len(layout)), torch.tensor(layout))
    labels = labels[torch.randperm(len(labels), generator=generator)]
    centres = 2 * torch.randn(len(layout), size, generator=generator)
    return centres[labels] + torch.randn(len(labels), size, generator=generator), labels


def measure(moments: ClassMoments) -> dict[str, float]:
    return {f.__name__: float(f(moments)) for f in VARIANCES}


LAYOUTS = [[4, 9, 3], [1, 1, 1, 1], [12], [0, 5, 0, 7, 1], [1], [0, 0, 2]]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_equals_loops(layout: list[int], dtype: torch.dtype) -> None:
    z, labels = sample(layout)
    z = z.to(dtype)
    metric = VarianceMetrics(len(layout))
    metric.update(z, z, labels)
    found = {name: float(value) for name, value in metric.compute().items()}
    unit = normalize(z.double(), dim=1).numpy()
    expected = variance_loop(unit, labels.numpy()) | cosine_loop(unit, labels.numpy())
    expected |= {f"{k}_raw": v for k, v in variance_loop(z.double().numpy(), labels.numpy()).items()}
    assert found.pop("spectral_decay") >= 0
    eigenvalues = np.linalg.eigvalsh(np.cov(unit.T, bias=True))
    expected["participation_ratio"] = eigenvalues.sum() ** 2 / max((eigenvalues**2).sum(), 1e-300)
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)
    names = {f.__name__ for f in VARIANCES + COSINES} | {f"{f.__name__}_raw" for f in VARIANCES}
    assert set(found) == names | {"participation_ratio"}


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3), st.integers(0, 4)), min_size=1, max_size=25),
    cut=st.integers(0, 25),
)
def test_law_of_total_variance_however_it_streams(rows: list[tuple[float, float, int]], cut: int) -> None:
    z = torch.tensor([row[:2] for row in rows], dtype=torch.float64)
    labels = torch.tensor([row[2] for row in rows])
    moments = ClassMoments.of(z[:cut], labels[:cut], 5)
    moments.update(z[cut:], labels[cut:])
    assert variance_total(moments) == variance_within(moments) + variance_between(moments)
    direct = float((z - z.mean(0)).square().sum(1).mean())
    assert float(variance_total(moments)) == pytest.approx(direct, rel=1e-9, abs=1e-9)


def test_merge_in_any_order_equals_the_whole() -> None:
    z, labels = sample([20, 1, 0, 34, 7])
    whole = measure(ClassMoments.of(z, labels, 5))
    for order in ([0, 1, 2], [2, 0, 1]):
        parts = [ClassMoments.of(z[i::3], labels[i::3], 5) for i in order]
        parts[1].merge(parts[2])
        parts[0].merge(parts[1])
        assert measure(parts[0]) == pytest.approx(whole, rel=1e-12)


def test_small_spread_far_from_the_origin_survives() -> None:
    generator = torch.Generator().manual_seed(0)
    z = 1e6 + 1e-3 * torch.randn(200, 3, dtype=torch.float64, generator=generator)
    labels = torch.arange(200) % 2
    moments = ClassMoments.of(z[:7], labels[:7], 2)
    for part in range(7, 200, 13):
        moments.update(z[part : part + 13], labels[part : part + 13])
    expected = variance_loop(z.numpy() - 1e6, labels.numpy())
    assert measure(moments)["variance_intra"] == pytest.approx(expected["variance_intra"], rel=1e-5)


def test_collapsed_embedding_has_ratio_zero_and_collapsed_means_an_infinite_one() -> None:
    labels = torch.tensor([0, 0, 1, 1])
    metric = VarianceMetrics(2)
    metric.update(torch.ones(4, 3), torch.ones(4, 3), labels)
    assert float(metric.compute()["variance_ratio"]) == 0
    metric.reset()
    raw = torch.tensor([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
    metric.update(raw, raw, labels)
    assert math.isinf(float(metric.compute()["variance_ratio"]))


def test_metric_over_batches_and_merged_shards_equals_the_whole() -> None:
    z, labels = sample([9, 0, 14, 1])
    whole = VarianceMetrics(4)
    whole.update(z, 2 * z, labels)
    expected = {k: float(v) for k, v in whole.compute().items()}
    shards = [VarianceMetrics(4) for _ in range(3)]
    for i in range(12):
        shards[i % 2].update(z[2 * i : 2 * i + 2], 2 * z[2 * i : 2 * i + 2], labels[2 * i : 2 * i + 2])
    for other in shards[1:]:  # the last has seen nothing
        shards[0].merge_state(other)
    assert {k: float(v) for k, v in shards[0].compute().items()} == pytest.approx(expected, rel=1e-9)
    shards[0].update(z[:0], z[:0], labels[:0])
    assert {k: float(v) for k, v in shards[0].compute().items()} == pytest.approx(expected, rel=1e-9)


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_reset_forgets_and_memory_does_not_grow() -> None:
    z, labels = sample([9, 14])
    metric = VarianceMetrics(2)
    for _ in range(5):
        metric.update(z, z, labels)
    assert [tuple(x.shape) for x in metric.unit_mean] == [(2, 5)]
    metric.reset()
    assert metric.compute() == {}


def test_an_update_changes_the_rows_of_its_classes_alone() -> None:
    z, labels = sample([3, 0, 2, 4])
    moments = ClassMoments.none(1_000_000, 5)
    kept = moments.mean
    moments.update(z, labels + 999_000)
    assert moments.mean is kept
    assert torch.equal(moments.mean[999_000:999_004], ClassMoments.of(z, labels, 4).mean)
    assert not moments.mean[:999_000].any()


def test_an_update_after_a_merge_leaves_the_merged_metric_as_it_was() -> None:
    z, labels = sample([3, 4])
    one, other = VarianceMetrics(2), VarianceMetrics(2)
    other.update(z, z, labels)
    expected = {k: float(v) for k, v in other.compute().items()}
    one.merge_state(other)
    one.update(z + 1, z - 1, labels)
    other._computed = None
    assert {k: float(v) for k, v in other.compute().items()} == expected


def test_updates_inside_and_outside_of_inference_mode() -> None:
    z, labels = sample([3, 4])
    metric, wanted = VarianceMetrics(2), VarianceMetrics(2)
    with torch.inference_mode():
        metric.update(z.clone(), z.clone(), labels.clone())
    metric.update(z, z, labels)
    wanted.update(torch.cat([z, z]), torch.cat([z, z]), torch.cat([labels, labels]))
    found = {k: float(v) for k, v in metric.compute().items()}
    assert found == pytest.approx({k: float(v) for k, v in wanted.compute().items()}, rel=1e-9)
