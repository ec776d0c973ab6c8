"""Neighbours in a large gallery."""

from collections.abc import Iterator

import torch

from gpu_checks.rows import Row, measured
from metriscope.evaluation.search.neighbors import nearest

K = 10


def run(device: torch.device, quick: bool) -> Iterator[Row]:
    """A tenth of the gallery asks, so that a slower GPU keeps the time as well."""
    size, dimension = (2_000, 32) if quick else (1_000_000, 512)
    source = torch.Generator(device).manual_seed(0)
    gallery = torch.nn.functional.normalize(torch.randn(size, dimension, generator=source, device=device), dim=1)
    queries = gallery[: size // 10]
    # Larger blocks of products than a CPU would like.
    memory = 256 if device.type == "cpu" else 16_384
    seconds, peak, found = measured(device, lambda: nearest(queries, gallery, K, memory_mb=memory), repeats=1)
    case = f"{K} neighbours of {len(queries):,} in {size:,} x {dimension}"
    own = bool((found[:, 0] == torch.arange(len(queries), device=device)).all())
    note = f"{len(queries) / seconds:,.0f} queries/s, so {size / len(queries) * seconds:,.0f} s for all {size:,}"
    yield Row(case, seconds=seconds, mebibytes=peak, ok=own, note=note)
