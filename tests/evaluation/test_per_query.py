import csv
from pathlib import Path

import pytest
import torch
from torch import Tensor

from metriscope.evaluation.embedded import EvaluatedSet
from metriscope.evaluation.measures import Measures
from metriscope.evaluation.per_query import QueryResult, per_query, write_per_query
from metriscope.evaluation.retrieval import means, query_scores

COUNT = 40


def points() -> tuple[Tensor, Tensor]:
    """Four classes of ten, and one of a single sample."""
    source = torch.Generator().manual_seed(0)
    labels = torch.arange(COUNT) % 4
    labels[7] = 4
    return torch.randn(COUNT, 3, generator=source) + torch.randn(5, 3, generator=source)[labels], labels


def by_hand(z: Tensor, labels: Tensor, query: int, gallery: list[int]) -> tuple[list[int], list[int]]:
    """The gallery without the query, nearest first, and the ranks of its matches."""
    order = sorted((one for one in gallery if one != query), key=lambda one: float((z[one] - z[query]).norm()))
    return order, [rank for rank, one in enumerate(order, 1) if labels[one] == labels[query]]


@pytest.mark.parametrize("apart", [False, True])
def test_each_query_is_as_a_loop_finds_it(apart: bool) -> None:
    z, labels = points()
    queries = torch.arange(COUNT) % 3 == 1 if apart else None
    scores = query_scores(z, labels, Measures(), queries=queries)
    embedded = EvaluatedSet(z, labels, scores, positions=torch.arange(COUNT))
    names, paths = [*"abcde"], [f"{i}.jpg" for i in range(COUNT)]
    results = per_query(embedded, names, paths, queries)
    asking = range(COUNT) if queries is None else queries.nonzero().squeeze(1).tolist()
    gallery = [i for i in range(COUNT) if queries is None or not queries[i]]
    assert [one.position for one in results] == list(asking)
    for one in results:
        order, ranks = by_hand(z, labels, one.position, gallery)
        assert (one.path, one.class_name) == (paths[one.position], names[int(labels[one.position])])
        assert one.nearest_position == order[0]
        assert (one.nearest_path, one.nearest_class) == (paths[order[0]], names[int(labels[order[0]])])
        if not ranks:
            assert one[3:7] == (None,) * 4
            continue
        within = [rank for rank in ranks if rank <= len(ranks)]
        assert (one.rank_of_first_match, one.recall_at_1) == (ranks[0], int(ranks[0] == 1))
        assert one.r_precision == pytest.approx(len(within) / len(ranks))
        precision = sum(hits / rank for hits, rank in enumerate(within, 1))
        assert one.average_precision == pytest.approx(precision / len(ranks))
    assert sum(one.recall_at_1 is None for one in results) == 1
    counted = [one.average_precision for one in results if one.average_precision is not None]
    assert sum(counted) / len(counted) == pytest.approx(means(embedded.ranked(), Measures())["map_at_r"])


def test_positions_are_those_of_the_part_where_only_some_were_embedded() -> None:
    z, labels = torch.tensor([[0.0], [1.0], [5.0], [6.0]]), torch.tensor([0, 0, 1, 1])
    queries = torch.tensor([False, False, True, False, False, True, False, False])
    index = torch.tensor([2, 3, 5, 7])
    scores = query_scores(z, labels, Measures(), queries=queries[index])
    results = per_query(EvaluatedSet(z, labels, scores, positions=index), ["a", "b"], [*"abcdefgh"], queries)
    assert [(one.position, one.path, one.nearest_position, one.nearest_path) for one in results] == [
        (2, "c", 3, "d"),
        (5, "f", 7, "h"),
    ]


def test_a_file_in_the_order_of_the_queries(tmp_path: Path) -> None:
    results = [
        QueryResult(0, "=a b.jpg", "caf\udce9", 3, 0, 0.5, 0.25, 2, "b, c.jpg", "b"),
        QueryResult(4, None, "b", None, None, None, None, None, None, None),
    ]
    write_per_query(tmp_path / "per_query.csv", results)
    with (tmp_path / "per_query.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.reader(file))
    assert ",".join(lines[0]) == (
        "position,path,class,rank_of_first_match,recall_at_1,r_precision,average_precision,nearest_position,"
        "nearest_path,nearest_class"
    )
    assert lines[1:] == [
        ["0", "'=a b.jpg", "caf\N{REPLACEMENT CHARACTER}", "3", "0", "0.5", "0.25", "2", "b, c.jpg", "b"],
        ["4", "", "b", *[""] * 7],
    ]


def test_a_set_of_one_has_no_neighbour() -> None:
    z, labels = torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64)
    (one,) = per_query(EvaluatedSet(z, labels, query_scores(z, labels, Measures())), ["a"])
    assert one == QueryResult(0, None, "a", *[None] * 7)
