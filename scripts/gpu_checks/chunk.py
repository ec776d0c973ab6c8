"""Batches beyond memory: a step in chunks beside a plain one."""

from collections.abc import Iterator

import torch

from gpu_checks.rows import MEMORY, Row, is_full
from gpu_checks.runs import timed
from metriscope.config.compose import compose_config


def run(device: torch.device, quick: bool) -> Iterator[Row]:
    """Plain steps of a small batch and of a large one, and the large one in chunks of the small."""
    if "embed_chunk" not in compose_config([]).trainer:
        yield Row("trainer.embed_chunk", note="this version has no such key")
        return
    large, small = (40, 10) if quick else (1024, 64)
    images = {"count": 2 * large, "tested": large, "size": 8 if quick else 224, "classes": 10}
    network = [] if quick else ["backbone=resnet50", "backbone.weights=null"]
    words = [*network, "backbone.freeze_batch_norm=true", "diagnostics=none"]
    for batch, chunk in ((small, "null"), (large, "null"), (large, str(small))):
        case = f"batch {batch:,}" + ("" if chunk == "null" else f" in chunks of {chunk}")
        own = [f"sampler.batch_size={batch}", f"trainer.embed_chunk={chunk}"]
        try:
            watch, _ = timed(device, [*words, *own], images)
            rate = f"{images['count'] / watch.seconds:,.0f} images/s"
            yield Row(case, seconds=watch.seconds, mebibytes=watch.mebibytes, ok=True, note=rate)
        except Exception as error:
            full = is_full(error) or "memory" in str(error)
            yield Row(case, ok=None if full else False, note=MEMORY if full else " ".join(str(error).split())[:200])
