import numpy as np
import pytest
import torch
from torch import Tensor

from metriscope.errors import RunError
from metriscope.evaluation.search import neighbors
from metriscope.evaluation.search.neighbors import GROUP, PAD, nearest, plan_blocks, visit_nearest


def brute_force(queries: Tensor, gallery: Tensor, k: int, exclude_self: bool = False) -> list[list[int]]:
    found = []
    for i, q in enumerate(queries.double()):
        squared = (gallery.double() - q).square().sum(1).tolist()
        others = [j for j in range(len(gallery)) if not (exclude_self and i == j)]
        found.append([j for _, j in sorted((squared[j], j) for j in others)[:k]])
    return found


def grid_points(count: int, size: int = 3, seed: int = 0) -> Tensor:
    """Integer coordinates: distances are exact in float32, and many of them are equal."""
    return torch.randint(0, 4, (count, size), generator=torch.Generator().manual_seed(seed)).float()


@pytest.mark.parametrize("exclude_self", [False, True])
@pytest.mark.parametrize(("count", "k"), [(1, 1), (2, 5), (17, 3), (70, 69), (70, 200), (600, 1), (600, 2)])
def test_equals_brute_force_with_ties(count: int, k: int, exclude_self: bool) -> None:
    points = grid_points(count)
    found = nearest(points, points, k, exclude_self=exclude_self)
    assert found.tolist() == brute_force(points, points, k, exclude_self)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_dtypes(dtype: torch.dtype) -> None:
    points = grid_points(40).to(dtype)
    assert nearest(points[:7], points, 5).tolist() == brute_force(points[:7], points, 5)


def test_duplicates_come_in_order_of_position() -> None:
    torch.manual_seed(0)
    points = torch.nn.functional.normalize(torch.randn(9, 33), dim=1).repeat(70, 1)
    found = nearest(points, points, 69, exclude_self=True)
    for i in range(len(points)):
        assert found[i].tolist() == [j for j in range(i % 9, len(points), 9) if j != i]


@pytest.mark.parametrize("k", [3, 120])
def test_result_does_not_depend_on_blocks_or_threads(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(1)
    points = torch.nn.functional.normalize(torch.randn(1500, 20), dim=1)
    points[700:800] = points[:100]
    whole = nearest(points, points, k, exclude_self=True)
    for memory_mb in (0.01, 0.7, 3):
        assert torch.equal(nearest(points, points, k, exclude_self=True, memory_mb=memory_mb), whole)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        assert torch.equal(nearest(points, points, k, exclude_self=True), whole)
    finally:
        torch.set_num_threads(before)
    monkeypatch.setattr(neighbors, "smallest", lambda keys, k: keys.sort(1).values[:, :k])
    assert torch.equal(nearest(points, points, k, exclude_self=True), whole)


def test_selection_of_other_devices_agrees() -> None:
    keys = torch.stack([torch.randperm(300) for _ in range(4)]) << 32
    expected = keys.topk(20, dim=1, largest=False, sorted=True).values
    assert torch.equal(neighbors.smallest(keys.clone(), 20), expected)


def test_each_query_has_its_own_depth() -> None:
    points = grid_points(300)
    depths = torch.randint(0, 40, (300,), generator=torch.Generator().manual_seed(3))
    expected = nearest(points, points, 40, exclude_self=True)
    seen = torch.zeros(300, dtype=torch.int64)

    def visit(rows: Tensor, indices: Tensor) -> None:
        seen[rows] += 1
        assert indices.shape[1] == int(depths[rows].max())
        assert torch.equal(indices, expected[rows][:, : indices.shape[1]])

    visit_nearest(points, points, depths, visit, exclude_self=True, memory_mb=0.5)
    assert (seen == 1).all()


def test_far_from_the_origin_negative_rounding_is_a_tie() -> None:
    points = torch.full((5, 64), 0.1)
    assert nearest(points, points, 4, exclude_self=True)[3].tolist() == [0, 1, 2, 4]


@pytest.mark.parametrize(("gallery", "k"), [(1, 1), (100, 10), (10_000, 1000), (2_000_000, 8)])
@pytest.mark.parametrize("memory_mb", [1, 16, 256, 4096])
def test_blocks_fit_the_memory(gallery: int, k: int, memory_mb: float) -> None:
    blocks = plan_blocks(gallery, k, memory_mb, torch.device("cpu"))
    assert blocks.rows % PAD == 0
    assert blocks.columns % GROUP == 0
    per_row = neighbors.BYTES_PER_PAIR * blocks.columns + neighbors.BYTES_PER_NEIGHBOUR * k
    smallest = blocks.rows == PAD and blocks.columns == GROUP
    assert smallest or blocks.workers * blocks.rows * per_row <= memory_mb * 2**20


def test_less_memory_means_fewer_rows_at_a_time() -> None:
    points = grid_points(2000)
    widest: dict[int, int] = {1: 0, 64: 0}
    for memory_mb in widest:

        def visit(rows: Tensor, indices: Tensor, memory_mb: int = memory_mb) -> None:
            assert len(rows) == len(indices)
            widest[memory_mb] = max(widest[memory_mb], len(rows))

        visit_nearest(points, points, 5, visit, memory_mb=memory_mb)
    assert widest[1] <= 16 < widest[64] <= 128


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_values_that_cannot_be_ranked(value: float) -> None:
    points = grid_points(10)
    points[4, 1] = value
    with pytest.raises(RunError, match="1 of 10"):
        nearest(points, points, 2)


def test_leave_one_out_needs_the_queries_in_the_gallery() -> None:
    with pytest.raises(ValueError, match="the queries in the gallery, got 4 and 3 rows"):
        nearest(grid_points(4), grid_points(3), 1, exclude_self=True)


@pytest.mark.parametrize(("count", "further", "k"), [(5, 2, 3), (520, 70, 2), (280, 300, 2), (100, 60, 30)])
@pytest.mark.parametrize("memory_mb", [0.01, 256])
def test_queries_are_the_first_of_a_larger_gallery(count: int, further: int, k: int, memory_mb: float) -> None:
    points = grid_points(count + further)
    found = nearest(points[:count], points, k, exclude_self=True, memory_mb=memory_mb)
    assert found.tolist() == brute_force(points[:count], points, k, exclude_self=True)


def test_queries_of_a_larger_gallery_are_screened() -> None:
    torch.manual_seed(0)
    points = torch.nn.functional.normalize(torch.randn(1100, 64), dim=1)
    found = nearest(points[:500], points, 3, exclude_self=True)
    assert torch.equal(found, nearest(points, points, 3, exclude_self=True)[:500])


def test_settings_of_the_caller_come_back() -> None:
    threads = torch.get_num_threads()
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16), torch.inference_mode():
            points = torch.from_numpy(np.linspace(0, 1, 256, dtype=np.float32))[:, None] * torch.ones(1, 64)
            found = nearest(points, points, 2, exclude_self=True)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert torch.get_num_threads() == threads
    assert ((found - torch.arange(256)[:, None]).abs() <= 2).all()
