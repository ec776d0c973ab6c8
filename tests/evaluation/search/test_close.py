"""Neighbours are those of float64 wherever the points lie and however close they are to one another."""

import pytest
import torch
from combinations import every
from torch import Tensor

from metriscope.evaluation.retrieval import retrieval_metrics
from metriscope.evaluation.search import neighbors, screening
from metriscope.evaluation.search import tiles as sweep
from metriscope.evaluation.search.neighbors import nearest

CLASSES, MEMBERS = 6, 10
DTYPES = {"float64": torch.float64, "float32": torch.float32, "half": torch.float16, "bfloat16": torch.bfloat16}


def clusters(size: int, scale: float, offset: float, spread: float) -> tuple[Tensor, Tensor]:
    """Classes whose members lie within ``spread`` of a centre, some twice, all moved by ``offset``; float64."""
    source = torch.Generator().manual_seed(0)
    labels = torch.arange(CLASSES * MEMBERS) % CLASSES
    centres = torch.randn(CLASSES // 2, size, generator=source, dtype=torch.float64)
    within = torch.randn(len(labels), size, generator=source, dtype=torch.float64)
    # Two classes share a centre, and within their spread they lie on two sides of it.
    side = torch.where(labels < CLASSES // 2, 1.0, -1.0)[:, None] * 3
    z = scale * (centres[labels % (CLASSES // 2)] + spread * (within + side) + offset)
    z[-7:] = z[:7]
    return z, labels


def squared_distances(queries: Tensor, gallery: Tensor) -> Tensor:
    return torch.cdist(queries.double(), gallery.double(), compute_mode="donot_use_mm_for_euclid_dist").square()


@every(
    size=(2, 32, 512),
    scale=(1e-3, 1e4),
    offset=(0.0, 1e4),
    spread=(1.0, 1e-3, 1e-6),
    dtype=list(DTYPES),
)
def test_neighbours_are_those_of_float64(size: int, scale: float, offset: float, spread: float, dtype: str) -> None:
    z = clusters(size, scale, offset, spread)[0].to(DTYPES[dtype])
    if not z.isfinite().all():
        return  # half precision ends at 65,504
    table = squared_distances(z, z)
    reached = table[:10].gather(1, nearest(z[:10], z, 3))
    torch.testing.assert_close(reached, table[:10].sort(1).values[:, :3], rtol=2.0**-9, atol=0)
    table.fill_diagonal_(torch.inf)
    reached = table.gather(1, nearest(z, z, 8, exclude_self=True))
    torch.testing.assert_close(reached, table.sort(1).values[:, :8], rtol=2.0**-9, atol=0)


@every(offset=(0.0, 300.0, 1e4), spread=(1.0, 1e-3))
def test_metrics_are_those_of_float64(offset: float, spread: float) -> None:
    z, labels = clusters(32, 1.0, offset, spread)
    z = z.float()
    found = retrieval_metrics(z, labels, recall_at=(1, 2))
    order = squared_distances(z, z).fill_diagonal_(torch.inf).argsort(dim=1, stable=True)[:, :-1]
    hits = labels[order] == labels[:, None]
    for k in (1, 2):
        assert found[f"recall_at_{k}"] == pytest.approx(float(hits[:, :k].any(1).double().mean()))
    assert found["mrr"] == pytest.approx(float((1 / (hits.double().argmax(1) + 1)).mean()))


@pytest.mark.parametrize("screened", [False, True])
def test_tiles_resolve_close_pairs_as_rows_do(screened: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "LARGEST_SIDE", 256)
    monkeypatch.setattr(screening, "pays", lambda: screened)
    monkeypatch.setattr(screening, "ENOUGH", 0.0)
    source = torch.Generator().manual_seed(0)
    z = torch.randn(60, 96, generator=source).repeat(10, 1) + 1e-4 * torch.randn(600, 96, generator=source) + 100
    found = nearest(z, z, 8, exclude_self=True)
    wanted = squared_distances(z, z).fill_diagonal_(torch.inf).argsort(1)[:, :8]
    assert torch.equal(found, wanted)
    monkeypatch.setattr(neighbors, "plan_tiles", lambda *sizes: None)
    assert torch.equal(nearest(z, z, 8, exclude_self=True), found)


def test_equal_rows_are_not_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that gives two points to all images costs no more than another one."""
    z = torch.randn(2, 33, generator=torch.Generator().manual_seed(0)).repeat(50, 1)
    monkeypatch.setattr(torch, "cdist", lambda *arguments, **options: pytest.fail("differences of equal rows"))
    assert nearest(z, z, 3, exclude_self=True)[9].tolist() == [1, 3, 5]
