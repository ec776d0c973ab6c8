from collections.abc import Iterable
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
import torch
from forks import on_ranks
from hypothesis import given, settings
from torch import Tensor
from torch.nn.functional import normalize

from metriscope.errors import InputError, RunError
from metriscope.evaluation.retrieval import RetrievalMetrics, retrieval_metrics

RECALL_AT = (1, 2, 4, 8)


def brute_force(
    embeddings: Tensor,
    labels: Tensor,
    recall_at: Iterable[int] = RECALL_AT,
    precision_at: Iterable[int] = (1,),
    queries: list[bool] | None = None,
) -> dict[str, float]:
    points, classes = embeddings.double(), labels.tolist()
    sums: dict[str, float] = {f"recall_at_{k}": 0.0 for k in recall_at}
    sums |= {f"precision_at_{k}": 0.0 for k in precision_at}
    sums |= {"mrr": 0.0, "r_precision": 0.0, "map_at_r": 0.0}
    asking = [i for i in range(len(classes)) if queries is None or queries[i]]
    counted = 0
    for i in asking:
        others = [j for j in range(len(classes)) if (j != i if queries is None else not queries[j])]
        relevant = sum(classes[j] == classes[i] for j in others)
        if relevant == 0:
            continue
        counted += 1
        others.sort(key=lambda j: (float((points[i] - points[j]).square().sum()), j))
        hits = [classes[j] == classes[i] for j in others]
        for k in recall_at:
            sums[f"recall_at_{k}"] += any(hits[:k])
        for k in precision_at:
            sums[f"precision_at_{k}"] += sum(hits[:k]) / k
        sums["mrr"] += 1 / (hits.index(True) + 1)
        sums["r_precision"] += sum(hits[:relevant]) / relevant
        sums["map_at_r"] += sum(sum(hits[: r + 1]) / (r + 1) for r in range(relevant) if hits[r]) / relevant
    result = {name: value / counted for name, value in sums.items()} if counted else {}
    return result | {"queries_skipped": float(len(asking) - counted)}


def sample(count: int, classes: int, size: int = 16, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (count,), generator=generator)
    centres = torch.randn(classes, size, generator=generator)
    return normalize(centres[labels] * 0.5 + torch.randn(count, size, generator=generator), dim=1), labels


def test_hand_made_ranking() -> None:
    # From 0 the order is 1 2 3 with hits at ranks 1 and 3; R = 2, so P(1) alone counts: 1/2.
    embeddings = torch.tensor([[0.0], [1.0], [2.5], [4.5]])
    labels = torch.tensor([7, 7, 3, 7])
    metrics = retrieval_metrics(embeddings, labels, (1,))
    # Query 3 sees 2 (miss), then 1 (hit at rank 2); query 1 sees 0 (hit), then 2 (miss); query 2 is alone.
    assert metrics == pytest.approx(
        {
            "recall_at_1": 2 / 3,
            "precision_at_1": 2 / 3,
            "mrr": (1 + 1 + 1 / 2) / 3,
            "r_precision": 1 / 2,
            "map_at_r": (1 / 2 + 1 / 2 + 1 / 4) / 3,
            "queries_skipped": 1,
        }
    )


@pytest.mark.parametrize(("count", "classes"), [(2, 1), (3, 2), (40, 1), (60, 3), (150, 10), (90, 60), (200, 2)])
def test_equals_brute_force(count: int, classes: int) -> None:
    embeddings, labels = sample(count, classes)
    expected = brute_force(embeddings, labels, precision_at=(1, 3, 10))
    assert retrieval_metrics(embeddings, labels, precision_at=(1, 3, 10)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("count", "classes"), [(2, 1), (40, 1), (150, 10), (90, 60)])
def test_queries_in_a_gallery_equal_brute_force(count: int, classes: int) -> None:
    embeddings, labels = sample(count, classes)
    queries = torch.rand(count, generator=torch.Generator().manual_seed(1)) < 0.4
    queries[:2] = torch.tensor([True, False])
    expected = brute_force(embeddings, labels, queries=queries.tolist())
    found = retrieval_metrics(embeddings, labels, queries=queries)
    assert found == pytest.approx(expected, abs=1e-12)
    assert classes < 60 or found["queries_skipped"] > 0


def test_a_gallery_is_where_queries_look_and_not_among_themselves() -> None:
    embeddings = torch.tensor([[0.0], [0.1], [5.0], [1.0], [3.0]])
    labels = torch.tensor([0, 0, 1, 9, 0])
    queries = torch.tensor([True, True, True, False, False])
    # Both queries of class 0 find item 3 first, then item 4; the one of class 1 has nothing to find.
    found = retrieval_metrics(embeddings, labels, (1, 2), queries=queries)
    assert found["recall_at_1"] == 0
    assert found["recall_at_2"] == 1
    assert found["mrr"] == found["r_precision"] + 0.5 == 0.5
    assert found["queries_skipped"] == 1


@pytest.mark.parametrize("memory_mb", [0.01, 256])
@pytest.mark.parametrize("gallery", [False, True])
def test_the_first_hit_is_found_however_far_away(gallery: bool, memory_mb: float) -> None:
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randint(0, 3, (120, 3), generator=generator).float()  # with ties
    labels = torch.arange(120) // 2
    queries = torch.arange(120) % 2 == 0 if gallery else None
    expected = brute_force(embeddings, labels, (1,), queries=None if queries is None else queries.tolist())
    found = retrieval_metrics(embeddings, labels, (1,), queries=queries, memory_mb=memory_mb)
    assert found == pytest.approx(expected, abs=1e-12)
    assert 0 < found["mrr"] < 0.5


@pytest.mark.parametrize("queries", [torch.ones(30).bool(), torch.zeros(30).bool()])
def test_queries_need_a_gallery(queries: Tensor) -> None:
    with pytest.raises(RunError, match="of 30 test examples are queries"):
        retrieval_metrics(*sample(30, 3), queries=queries)


@settings(max_examples=40, deadline=None)
@given(
    points=st.lists(st.tuples(*map(st.integers, (0, 0, 0), (2, 2, 4))), min_size=1, max_size=30),
    memory_mb=st.sampled_from([0.01, 256]),
)
def test_equals_brute_force_on_any_layout_with_ties(points: list[tuple[int, int, int]], memory_mb: float) -> None:
    embeddings = torch.tensor([p[:2] for p in points], dtype=torch.float32)
    labels = torch.tensor([p[2] for p in points]) * 2**33  # labels need not be small or contiguous
    found = retrieval_metrics(embeddings, labels, memory_mb=memory_mb)
    assert found == pytest.approx(brute_force(embeddings, labels), abs=1e-12)


def test_one_large_class_among_small_ones() -> None:
    embeddings, labels = sample(160, 40)
    labels[:80] = 0
    assert retrieval_metrics(embeddings, labels) == pytest.approx(brute_force(embeddings, labels), abs=1e-12)


def test_means_over_no_query_are_absent() -> None:
    assert retrieval_metrics(torch.eye(5), torch.arange(5)) == {"queries_skipped": 5}
    assert retrieval_metrics(torch.ones(1, 3), torch.zeros(1, dtype=torch.int64))["queries_skipped"] == 1


def test_without_map_at_r_the_rest_is_the_same() -> None:
    embeddings, labels = sample(900, 6)
    full = retrieval_metrics(embeddings, labels)
    quick = retrieval_metrics(embeddings, labels, map_at_r=False, mrr=False)
    assert set(full) - set(quick) == {"r_precision", "map_at_r", "mrr"}
    assert all(full[name] == value for name, value in quick.items())


@pytest.mark.parametrize(("count", "classes"), [(300, 5), (200, 70)])
def test_equals_pytorch_metric_learning(count: int, classes: int) -> None:
    from pytorch_metric_learning.distances import LpDistance
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
    from pytorch_metric_learning.utils.inference import CustomKNN

    embeddings, labels = sample(count, classes, size=32)
    calculator = AccuracyCalculator(
        include=("precision_at_1", "r_precision", "mean_average_precision_at_r"),
        knn_func=CustomKNN(LpDistance(normalize_embeddings=False)),
        device=torch.device("cpu"),
    )
    expected = calculator.get_accuracy(embeddings, labels)
    found = retrieval_metrics(embeddings, labels)
    assert found["precision_at_1"] == pytest.approx(expected["precision_at_1"], abs=1e-6)
    assert found["r_precision"] == pytest.approx(expected["r_precision"], abs=1e-6)
    assert found["map_at_r"] == pytest.approx(expected["mean_average_precision_at_r"], abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_metric_over_batches_in_any_order(dtype: torch.dtype) -> None:
    embeddings, labels = sample(101, 7)
    embeddings = embeddings.to(dtype)
    metric = RetrievalMetrics()
    for index in torch.randperm(101, generator=torch.Generator().manual_seed(0)).chunk(8):
        metric.update(embeddings[index], labels[index], index)
    metric.update(embeddings[:20], labels[:20], torch.arange(20))  # what a padded sampler repeats
    assert metric.compute() == retrieval_metrics(embeddings.float(), labels)
    z, y, index = metric.embeddings()
    assert torch.equal(z, embeddings.float())
    assert torch.equal(y, labels)
    assert torch.equal(index, torch.arange(101))


def test_metric_with_queries_by_index() -> None:
    embeddings, labels = sample(60, 4)
    queries = torch.arange(60) % 3 == 0
    metric = RetrievalMetrics(queries=queries)
    for index in torch.arange(60).flip(0).chunk(5):
        metric.update(embeddings[index], labels[index], index)
    assert metric.compute() == retrieval_metrics(embeddings, labels, queries=queries)
    assert metric.scores is not None
    assert torch.equal(metric.scores.labels, labels[queries])
    metric.reset()
    assert metric.scores is None


def test_merged_states_equal_one() -> None:
    embeddings, labels = sample(60, 4)
    index = torch.arange(60)
    shards = []
    for part in (index[1::2], index[::2]):
        shard = RetrievalMetrics()
        shard.update(embeddings[part], labels[part], part)
        shards.append(shard)
    shards[0].merge_state(shards[1])
    assert shards[0].compute() == retrieval_metrics(embeddings, labels)


def test_reset_forgets() -> None:
    embeddings, labels = sample(30, 3)
    metric = RetrievalMetrics()
    metric.update(embeddings, labels, torch.arange(30))
    metric.compute()
    metric.reset()
    metric.update(embeddings[:10], labels[:10], torch.arange(10))
    assert metric.compute() == retrieval_metrics(embeddings[:10], labels[:10])
    assert len(metric.embeddings()[0]) == 10


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_embeddings_that_are_not_finite(value: float) -> None:
    embeddings, labels = sample(30, 3)
    embeddings[[3, 8]] = value
    metric = RetrievalMetrics()
    metric.update(embeddings, labels, torch.arange(30))
    with pytest.raises(RunError, match="2 of 30 embeddings"):
        metric.compute()


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_bad_input() -> None:
    with pytest.raises(InputError, match="recall_at"):
        RetrievalMetrics(recall_at=(0, 1))
    with pytest.raises(InputError, match="precision_at"):
        RetrievalMetrics(precision_at=(0,))
    with pytest.raises(ValueError, match="expected embeddings"):
        RetrievalMetrics().update(torch.zeros(3, 2), torch.zeros(3), torch.zeros(2))
    with pytest.raises(RunError, match="no embeddings"):
        RetrievalMetrics().compute()


def _evaluate_share(shares: list[list[int]], folder: Path) -> None:
    from metriscope.diagnostics.variance import VarianceMetrics

    torch.distributed.init_process_group("gloo")
    rank = torch.distributed.get_rank()
    embeddings, labels = sample(50, 6)
    found: list[Any] = []
    for share in (shares[rank], list(range(50)) if rank == 1 else []):  # the second time rank 0 gets nothing
        index = torch.tensor(share, dtype=torch.int64)
        retrieval, variance = RetrievalMetrics(), VarianceMetrics(6)
        for part in index.chunk(4) if share else ():
            retrieval.update(embeddings[part], labels[part], part)
            variance.update(embeddings[part], 3 * embeddings[part], labels[part])
        found.append((retrieval.compute(), retrieval.embeddings(), variance.compute()))
    torch.save(found, folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_two_processes_equal_one(tmp_path: Path) -> None:
    from metriscope.diagnostics.variance import VarianceMetrics

    shares = [[*range(0, 50, 2), 49], [*range(1, 50, 2), 0, 2]]  # unequal, with repeats
    on_ranks(lambda: _evaluate_share(shares, tmp_path))
    embeddings, labels = sample(50, 6)
    expected = retrieval_metrics(embeddings, labels)
    whole = VarianceMetrics(6)
    whole.update(embeddings, 3 * embeddings, labels)
    variances = {name: float(value) for name, value in whole.compute().items()}
    for rank in (0, 1):
        first, second = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        (metrics, gathered, _), (lone, _, lone_variances) = first, second
        assert metrics == lone == expected
        for tensor, one in zip(gathered, (embeddings, labels, torch.arange(50)), strict=True):
            assert torch.equal(tensor, one)
        assert {k: float(v) for k, v in lone_variances.items()} == pytest.approx(variances, rel=1e-9)


def ranking(
    embeddings: Tensor, labels: Tensor, queries: Tensor | None, further: Tensor
) -> list[tuple[int, list[bool]]]:
    """Of each query with a match: R, and whether each item of the gallery matches, nearest first."""
    points, classes = torch.cat([embeddings, further]).double(), [*labels.tolist(), *[None] * len(further)]
    squared = (points[: len(labels), None] - points).square().sum(2).tolist()
    found = []
    for i in range(len(labels)):
        if queries is not None and not queries[i]:
            continue
        others = [j for j in range(len(points)) if (j != i if queries is None or j >= len(labels) else not queries[j])]
        others.sort(key=lambda j: (squared[i][j], j))
        hits = [classes[j] == classes[i] for j in others]
        if any(hits):
            found.append((sum(hits), hits))
    return found


def average_precision(hits: list[bool], cut: int) -> float:
    return sum(sum(hits[: r + 1]) / (r + 1) for r in range(min(cut, len(hits))) if hits[r])


FURTHER: dict[str, Any] = {"map_at": (1, 3, 500), "mean_average_precision": True, "cmc_at": (1, 2, 10)}


@pytest.mark.parametrize("memory_mb", [0.01, 256])
@pytest.mark.parametrize("gallery", [False, True])
@pytest.mark.parametrize("distractors", [0, 25])
@pytest.mark.parametrize(("count", "classes", "ties"), [(3, 1, False), (90, 3, True), (90, 30, True), (90, 5, False)])
def test_whole_rankings_equal_brute_force(
    count: int, classes: int, ties: bool, distractors: int, gallery: bool, memory_mb: float
) -> None:
    source = torch.Generator().manual_seed(0)
    embeddings = torch.randint(0, 3, (count + distractors, 3), generator=source).float()  # ties and duplicates
    if not ties:
        embeddings = torch.randn(count + distractors, 5, generator=source)
    embeddings, further = embeddings[:count], embeddings[count:]
    labels = torch.randint(classes, (count,), generator=source)
    queries = torch.arange(count) % 3 == 0 if gallery else None
    rows = ranking(embeddings, labels, queries, further)
    n = len(rows)
    expected = {f"map_at_{k}": sum(average_precision(hits, k) / min(k, r) for r, hits in rows) / n for k in (1, 3, 500)}
    expected["mean_average_precision"] = sum(average_precision(hits, len(hits)) / r for r, hits in rows) / n
    for k in (1, 2, 10):
        # Each match in turn is the only one that stays in the gallery.
        ranks = [[1 + hits[:p].count(False) for p, hit in enumerate(hits) if hit] for _, hits in rows]
        expected[f"cmc_at_{k}"] = sum(sum(rank <= k for rank in one) / len(one) for one in ranks) / n
    expected |= {f"recall_at_{k}": sum(any(hits[:k]) for _, hits in rows) / n for k in (1, 4)}
    expected["map_at_r"] = sum(average_precision(hits[:r], r) / r for r, hits in rows) / n
    expected["mrr"] = sum(1 / (hits.index(True) + 1) for _, hits in rows) / n
    asked: dict[str, Any] = {"queries": queries, "distractors": further, "memory_mb": memory_mb, **FURTHER}
    found = retrieval_metrics(embeddings, labels, (1, 4), **asked)
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-12)
    without = retrieval_metrics(embeddings, labels, (1, 4), **{**asked, "mean_average_precision": False})
    del expected["mean_average_precision"]
    assert {name: without[name] for name in expected} == pytest.approx(expected, abs=1e-12)
    assert "mean_average_precision" not in without


def test_cmc_is_recall_where_queries_have_one_match() -> None:
    embeddings, _ = sample(80, 2)
    labels, queries = torch.arange(80) // 2, torch.arange(80) % 2 == 0
    found = retrieval_metrics(embeddings, labels, (1, 5), queries=queries, cmc_at=(1, 5))
    assert (found["cmc_at_1"], found["cmc_at_5"]) == (found["recall_at_1"], found["recall_at_5"])
    # With several matches recall asks for the nearest of them.
    found = retrieval_metrics(embeddings, labels // 4, (1, 5), cmc_at=(1, 5))
    assert found["cmc_at_1"] < found["recall_at_1"]


def test_distractors_can_only_hurt() -> None:
    embeddings, labels = sample(60, 4)
    found = retrieval_metrics(embeddings, labels, distractors=embeddings + 1e-3)
    assert found["recall_at_1"] < retrieval_metrics(embeddings, labels)["recall_at_1"]
    assert found["queries_skipped"] == 0
    with pytest.raises(RunError, match="1 of 60 embeddings of distractors hold NaN or Inf"):
        retrieval_metrics(
            embeddings,
            labels,
            distractors=embeddings.masked_fill(torch.eye(60, 16) > 2, 0).index_fill(0, torch.tensor([3]), torch.nan),
        )


def test_distractors_of_several_processes_count_once() -> None:
    embeddings, labels = sample(50, 4)
    whole = retrieval_metrics(embeddings, labels, distractors=embeddings[:7] + 0.01, **FURTHER)
    metric = RetrievalMetrics(distractors=embeddings[:7] + 0.01, **FURTHER)
    for part in (torch.arange(30), torch.arange(25, 50)):
        metric.update(embeddings[part], labels[part], part)
    assert metric.compute() == whole
