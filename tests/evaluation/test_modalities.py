"""Evaluation of two modalities: rankings across them, the gap between them and their variances, beside loops."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from metriscope.build.modalities import check_metrics
from metriscope.errors import InputError, RunError
from metriscope.evaluation.embedded import EvaluatedSet
from metriscope.evaluation.hubness import k_occurrences
from metriscope.evaluation.measures import Measures
from metriscope.evaluation.metrics import metric_of
from metriscope.evaluation.modalities import modality_gap, side_variance
from metriscope.evaluation.per_query import per_query
from metriscope.evaluation.retrieval import checked_scores, mean, query_scores, retrieval_metrics
from metriscope.evaluation.scores import of_queries
from metriscope.evaluation.set_metric import build_metrics
from metriscope.evaluation.shipped import SHIPPED

AUDIO = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [-0.6, 0.8]])
VISUAL = torch.tensor([[0.6, 0.8], [0.96, -0.28], [0.28, 0.96], [-0.96, 0.28]])
LABELS, SIDE = torch.tensor([0, 0, 1, 1] * 2), torch.tensor([0] * 4 + [1] * 4)
WHOLE = Measures((1, 2), (1,), True, True, (2,), True, (1, 2))
PAIRS = 12


def some(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs of both sides, in an order that mixes them."""
    source = torch.Generator().manual_seed(seed)
    labels, z = torch.randint(3, (PAIRS,), generator=source).repeat(2), torch.randn(2 * PAIRS, 4, generator=source)
    z = torch.nn.functional.normalize(z + 2 * torch.randn(3, 4, generator=source)[labels])
    side = torch.arange(2 * PAIRS) // PAIRS
    order = torch.randperm(2 * PAIRS, generator=source)
    return z[order], labels[order], side[order]


def ranks_by_hand(z: Tensor, labels: Tensor, side: Tensor, query: int) -> tuple[list[int], list[int]]:
    """The other side, most similar first and then in order, and the ranks of the matches."""
    gallery = [i for i in range(len(z)) if side[i] != side[query]]
    order = sorted(gallery, key=lambda i: (-round(float(z[i].double() @ z[query].double()), 6), i))
    return order, [rank for rank, i in enumerate(order, 1) if labels[i] == labels[query]]


def test_the_worked_example_of_both_directions() -> None:
    scores = query_scores(torch.cat([AUDIO, VISUAL]), LABELS, WHOLE, side=SIDE)
    expected = [1, 5 / 6, 5 / 6, 1, 5 / 6, 1, 5 / 6, 1]
    assert scores.whole_average_precision.tolist() == pytest.approx(expected, abs=1e-12)
    for own in (0, 1):
        found = of_queries(scores, own == SIDE)
        assert mean(found, found.whole_average_precision) == pytest.approx(0.9166667, abs=5e-8)


def test_every_score_is_as_a_loop_finds_it() -> None:
    z, labels, side = some()
    scores = query_scores(z, labels, WHOLE, side=side)
    assert torch.equal(scores.labels, labels)
    for query in range(len(z)):
        _, ranks = ranks_by_hand(z, labels, side, query)
        relevant = len(ranks)
        assert (int(scores.relevant[query]), int(scores.first_hit[query])) == (relevant, ranks[0])
        precision = [hits / rank for hits, rank in enumerate(ranks, 1)]
        assert float(scores.whole_average_precision[query]) == pytest.approx(sum(precision) / relevant)
        within = [p for p, rank in zip(precision, ranks, strict=True) if rank <= relevant]
        assert float(scores.average_precision[query]) == pytest.approx(sum(within) / relevant)
    plain = Measures((1, 2), (1,), True, True, (2,), False, (1, 2))
    for name in ("first_hit", "average_precision", "average_precision_at", "hits", "cmc"):
        assert torch.equal(getattr(scores, name), getattr(query_scores(z, labels, plain, side=side), name))


def test_equal_similarities_go_by_the_position() -> None:
    # Both samples of the other side are as similar, so the first of them comes first.
    z = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    labels, side = torch.tensor([0, 1, 0, 1]), torch.tensor([0, 0, 1, 1])
    assert query_scores(z, labels, WHOLE, side=side).first_hit.tolist() == [1, 2, 1, 2]


def test_means_are_those_of_both_directions() -> None:
    z, labels, side = some(1)
    whole = retrieval_metrics(z, labels, mean_average_precision=True, side=side)
    halves = [retrieval_metrics(z, labels, mean_average_precision=True, queries=side == own) for own in (0, 1)]
    for name, value in whole.items():
        both = sum(half[name] for half in halves)
        assert value == pytest.approx(both if name == "queries_skipped" else both / 2)


def evaluated(measures: Measures = WHOLE, seed: int = 0) -> EvaluatedSet:
    z, labels, side = some(seed)
    return EvaluatedSet(z, labels, query_scores(z, labels, measures, side=side), side=side)


def section(name: str) -> dict[str, Any]:
    return {"_target_": f"metriscope.evaluation.shipped.{SHIPPED[name].__name__}"}


def built(*names: str) -> list[Any]:
    return build_metrics({"metrics": {name: section(name) for name in names}})


def test_figures_of_each_direction() -> None:
    embedded = evaluated(Measures((1, 5, 10), (), False, True, (), True))
    (one,) = built("across_sides")
    found = one.of(embedded)
    assert {figure.key for figure in one.asked.figures} == found.keys()
    for own, way in ((0, "0_to_1"), (1, "1_to_0")):
        alone = retrieval_metrics(
            embedded.embeddings, embedded.labels, (1, 5, 10), mean_average_precision=True, queries=embedded.side == own
        )
        for name in ("mean_average_precision", "mrr", "recall_at_1", "recall_at_5", "recall_at_10"):
            assert found[f"{name}_{way}"] == pytest.approx(alone[name])
            known = metric_of(f"best/val/{name}_{way}")
            assert known is not None
            assert (known.key, known.direction) == (f"{name}_{way}", "max")
    assert metric_of("recall_at_5_0_to_1").title == "Recall@5, side 0 to 1"  # type: ignore[union-attr]


def test_verification_and_hubness_are_across_sides() -> None:
    z, labels, side = some()
    scores = [(float(z[i] @ z[j]), labels[i] == labels[j]) for i in range(len(z)) for j in range(len(z))
              if side[i] == 0 and side[j] == 1]  # fmt: skip
    positive, negative = ([s for s, same in scores if same == kind] for kind in (True, False))
    auc = sum(p > n for p in positive for n in negative) / len(positive) / len(negative)
    assert EvaluatedSet(z, labels, side=side).verified().curve.auc == pytest.approx(auc, abs=1e-3)
    counts = k_occurrences(z, 3, side=side)
    assert (len(counts), int(counts.sum())) == (2 * PAIRS, 3 * 2 * PAIRS)
    nearest = [ranks_by_hand(z, labels, side, query)[0][:3] for query in (side == 0).nonzero().flatten().tolist()]
    of_gallery = (side == 1).nonzero().flatten().tolist()
    assert counts[:PAIRS].tolist() == [sum(item in near for near in nearest) for item in of_gallery]


def test_results_of_each_query_name_the_nearest_of_the_other_side() -> None:
    embedded = evaluated(Measures())
    for one in per_query(embedded, [*"abc"]):
        order, ranks = ranks_by_hand(embedded.embeddings, embedded.labels, embedded.side, one.position)  # type: ignore[arg-type]
        assert (one.nearest_position, one.rank_of_first_match) == (order[0], ranks[0])


def test_the_gap_and_the_variances_are_as_loops_find_them() -> None:
    z, labels, side = some(2)
    z = (3 * z).double()
    unit = torch.nn.functional.normalize(z)
    gap = (unit[side == 0].mean(0) - unit[side == 1].mean(0)).norm()
    assert modality_gap(z, side) == pytest.approx(float(gap))
    found = side_variance(z, labels, side)
    classes = labels.unique().tolist()
    means = [[z[(side == s) & (labels == c)].mean(0) for c in classes] for s in (0, 1)]

    def intra(own: int, other: int) -> float:
        of_classes = []
        for c, centre in zip(classes, means[other], strict=True):
            members = [z[i] for i in range(len(z)) if side[i] == own and labels[i] == c]
            of_classes.append(torch.stack([(one - centre).square().sum() for one in members]).mean())
        return float(torch.stack(of_classes).mean())

    def inter(own: int, other: int) -> float:
        centre = torch.stack(means[other]).mean(0)
        return float(torch.stack([(one - centre).square().sum() for one in means[own]]).mean())

    assert found.intra == pytest.approx((intra(0, 0), intra(1, 1)))
    assert found.inter == pytest.approx((inter(0, 0), inter(1, 1)))
    assert found.intra_across == pytest.approx((intra(0, 1) + intra(1, 0)) / 2)
    assert found.inter_across == pytest.approx((inter(0, 1) + inter(1, 0)) / 2)
    values = {
        key: value for one in built("modality_gap", "side_variance") for key, value in one.of(evaluated()).items()
    }
    assert len(values) == 7
    assert all(math.isfinite(value) and metric_of(key) is not None for key, value in values.items())


def test_a_class_of_one_side_and_a_side_alone() -> None:
    z, labels, side = torch.eye(4), torch.tensor([0, 1, 0, 2]), torch.tensor([0, 0, 1, 1])
    assert query_scores(z, labels, WHOLE, side=side).relevant.tolist() == [1, 0, 1, 0]
    # Only class 0 is on both sides.
    assert side_variance(z, labels, side).intra_across == pytest.approx(2.0)
    alone = torch.zeros(4, dtype=torch.int64)
    assert math.isnan(modality_gap(z, alone))
    assert math.isnan(side_variance(z, labels, alone).inter_across)
    with pytest.raises(RunError, match=r"^4 test examples are all of one side"):
        checked_scores(z, labels, WHOLE, None, 256, side=alone)
    for name in ("across_sides", "modality_gap", "side_variance"):
        assert SHIPPED[name].of_sides
        with pytest.raises(
            InputError, match=f"^evaluation.metrics.{name} is about two modalities, and the data are of"
        ):
            check_metrics({"metrics": {name: section(name)}})
    with pytest.raises(LookupError, match=r"^no sides, because the data are of one modality$"):
        EvaluatedSet(z, labels).sides()
