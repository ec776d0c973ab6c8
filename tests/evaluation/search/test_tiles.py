"""Tiles, and bfloat16 in them, give to the bit what the search row by row gives."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import pytest
import torch
from combinations import every
from torch import Tensor
from torch.nn.functional import normalize

from metriscope.evaluation.search import neighbors, screening
from metriscope.evaluation.search import tiles as sweep
from metriscope.evaluation.search.half_distances import half_distances, padded
from metriscope.evaluation.search.neighbors import nearest
from metriscope.evaluation.search.points import points


def gaussian(count: int, size: int, seed: int = 0) -> Tensor:
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed))


def with_duplicates() -> Tensor:
    z = normalize(gaussian(900, 96))
    z[300:600] = z[:300]
    z[880:] = z[5]
    return z


def nearly_equal() -> Tensor:
    """Tight clusters: within one, bfloat16 sees hardly any difference, and float32 many ties."""
    return normalize(gaussian(9, 96).repeat(100, 1) + 1e-3 * gaussian(900, 96, 1))


def norms_of_all_sizes() -> Tensor:
    return gaussian(900, 96) * torch.logspace(-8, 7, 900)[torch.randperm(900)][:, None]


Value = TypeVar("Value")
OUT_OF_RANGE = {"all zero", "all equal", "tiny", "too large"}
INPUTS: dict[str, Callable[[], Tensor]] = {
    "unit": lambda: normalize(gaussian(900, 96)),
    "not a multiple of anything": lambda: gaussian(833, 77),
    "duplicates": with_duplicates,
    "all equal": lambda: normalize(gaussian(1, 96)).repeat(900, 1),
    "all zero": lambda: torch.zeros(900, 96),
    "nearly equal": nearly_equal,
    "far from the origin": lambda: gaussian(900, 96) + 300,
    "large": lambda: gaussian(900, 96) * 1e7,
    "too large": lambda: gaussian(900, 96) * 1e17,
    "tiny": lambda: gaussian(900, 96) * 1e-17,
    "norms of all sizes": norms_of_all_sizes,
    "one far away": lambda: torch.cat([gaussian(899, 96), torch.full((1, 96), 1e8)]),
    "whole numbers": lambda: torch.randint(0, 3, (900, 70), generator=torch.Generator().manual_seed(0)).float(),
}


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def one_thread() -> Iterator[None]:
    with threads(1):
        yield


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Threads that wait for each other take all cores meanwhile, so these tests meet fewer combinations."""
    with threads(2):
        yield


def taken_in_turn(name: str, values: Sequence[Value]) -> Value:
    """One of the values for each of the inputs, each as often."""
    return values[list(INPUTS).index(name) % len(values)]


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "LARGEST_SIDE", 256)


def by_rows(monkeypatch: pytest.MonkeyPatch, queries: Tensor, gallery: Tensor, k: int, exclude_self: bool) -> Tensor:
    with monkeypatch.context() as patch:
        patch.setattr(neighbors, "plan_tiles", lambda *sizes: None)
        return nearest(queries, gallery, k, exclude_self=exclude_self)


class Calls:
    """Counts calls of a function that still does its work."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, module: object, name: str) -> None:
        self.count, self.last = 0, None
        function = getattr(module, name)

        def counted(*arguments: object, **options: object) -> object:
            self.count += 1
            self.last = function(*arguments, **options)
            return self.last

        monkeypatch.setattr(module, name, counted)


@pytest.mark.usefixtures("small_tiles", "one_thread")
@every(name=list(INPUTS), k=(1, 8, 60))
def test_tiles_give_what_rows_give(name: str, k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    check_tiles(name, k, monkeypatch)


@pytest.mark.usefixtures("small_tiles", "two_threads")
@every(name=list(INPUTS))
def test_tiles_of_two_threads_give_what_rows_give(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check_tiles(name, taken_in_turn(name, (1, 8, 60)), monkeypatch)


def check_tiles(name: str, k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    z = INPUTS[name]()
    with monkeypatch.context() as patch:
        patch.setattr(screening, "pays", lambda: False)
        swept = Calls(patch, neighbors, "sweep")
        found = nearest(z, z, k, exclude_self=True)
    assert swept.count == 1
    assert torch.equal(found, by_rows(monkeypatch, z, z, k, True))


@pytest.mark.usefixtures("small_tiles", "one_thread")
@every(name=list(INPUTS), exclude_self=(False, True), enough=(0.0, 0.9))
def test_bfloat16_gives_what_float32_gives(
    name: str, exclude_self: bool, enough: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_bfloat16(name, exclude_self, enough, monkeypatch)


@pytest.mark.usefixtures("small_tiles", "two_threads")
@every(name=list(INPUTS))
def test_bfloat16_of_two_threads_gives_what_float32_gives(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ways = [(exclude_self, enough) for exclude_self in (False, True) for enough in (0.0, 0.9)]
    check_bfloat16(name, *taken_in_turn(name, ways), monkeypatch)


def check_bfloat16(name: str, exclude_self: bool, enough: float, monkeypatch: pytest.MonkeyPatch) -> None:
    z = INPUTS[name]()
    queries = z if exclude_self else z[100:500]
    with monkeypatch.context() as patch:
        patch.setattr(screening, "pays", lambda: True)
        patch.setattr(screening, "ENOUGH", enough)
        screened = Calls(patch, screening, "screened")
        found = nearest(queries, z, 8, exclude_self=exclude_self)
    assert screened.count == int(name not in OUT_OF_RANGE)
    assert torch.equal(found, by_rows(monkeypatch, queries, z, 8, exclude_self))


@pytest.mark.parametrize("threads", ["one_thread", "two_threads"])
def test_a_few_queries_find_what_many_find(threads: str, request: pytest.FixtureRequest) -> None:
    request.getfixturevalue(threads)
    for name, make in INPUTS.items():
        z = make()
        assert torch.equal(nearest(z[200:203], z, 8), nearest(z[200:350], z, 8)[:3]), name


@pytest.mark.usefixtures("small_tiles")
def test_bfloat16_proves_ordinary_neighbours_and_not_those_of_tight_clusters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screening, "pays", lambda: True)
    screened = Calls(monkeypatch, screening, "screened")
    z = INPUTS["unit"]()
    nearest(z, z, 8, exclude_self=True)
    assert isinstance(screened.last, tuple)
    assert screened.last[1].float().mean() > 0.95
    z = nearly_equal()
    nearest(z, z, 8, exclude_self=True)
    assert screened.last is None


@pytest.mark.parametrize("name", sorted(set(INPUTS) - OUT_OF_RANGE))
def test_bounds_lie_below_every_distance(name: str) -> None:
    these = padded(points(INPUTS[name](), "query"), 16)
    assert screening.suits(these)
    screen = screening._Screen(these)
    whole = slice(len(these.rows))
    lower = screening._lower_bounds(screen, screen)(len(these.rows))(whole, whole)
    exact = half_distances(these, these, torch.empty(len(these.rows), len(these.rows)))
    assert (lower <= exact).all()
    if name == "unit":
        assert (exact - lower)[exact < 0.45].max() < 0.02  # a product below zero is not used


@pytest.mark.usefixtures("small_tiles")
def test_a_machine_that_breaks_the_bound_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    z = INPUTS["unit"]()
    monkeypatch.setattr(screening, "pays", lambda: True)
    honest = torch.mm
    monkeypatch.setattr(torch, "mm", lambda a, b, out: out.copy_(honest(a.float(), b.float()) * 0.7))
    screened = Calls(monkeypatch, screening, "screened")
    found = nearest(z, z, 8, exclude_self=True)
    assert screened.last is None
    assert torch.equal(found, by_rows(monkeypatch, z, z, 8, True))


@pytest.mark.usefixtures("small_tiles")
def test_products_that_depend_on_the_side_are_not_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    z = INPUTS["unit"]()
    monkeypatch.setattr(screening, "pays", lambda: False)
    monkeypatch.setattr(neighbors, "_symmetric", lambda these, side: False)
    swept = Calls(monkeypatch, neighbors, "sweep")
    nearest(z, z, 8, exclude_self=True)
    assert swept.count == 0


def test_products_are_symmetric_here() -> None:
    for size in (20, 128, 514):
        assert neighbors._symmetric(points(gaussian(512, size), "query"), 512)


@pytest.mark.usefixtures("small_tiles")
def test_leave_one_out_computes_half_of_the_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    z = gaussian(1024, 32)
    monkeypatch.setattr(screening, "pays", lambda: False)
    products = Calls(monkeypatch, neighbors, "half_distances")
    nearest(z, z, 4, exclude_self=True)
    assert products.count == 1 + 4 * 5 / 2  # one looks whether products are symmetric


@every(count=(1024, 10_000, 10**6), k=(1, 8, 100, 5000), memory_mb=(1, 64, 256, 4096))
def test_tiles_fit_the_memory(count: int, k: int, memory_mb: float) -> None:
    tiling = sweep.plan_tiles(count, count, k, memory_mb)
    if tiling is not None:
        assert tiling.side >= 4 * k
        tiles = tiling.workers * tiling.side**2 * sweep.BYTES_PER_PAIR
        assert tiles + count * k * sweep.BYTES_PER_NEIGHBOUR <= memory_mb * 2**20
    assert (tiling is None) <= (memory_mb < 4096 or k > 100 or count < 2048)


def test_where_bfloat16_pays_is_an_answer() -> None:
    assert screening.pays() in (True, False)
