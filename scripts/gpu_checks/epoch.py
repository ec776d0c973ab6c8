"""An epoch of small images with all diagnostics and without."""

from collections.abc import Iterator

import torch

from gpu_checks.rows import Row
from gpu_checks.runs import timed


def run(device: torch.device, quick: bool) -> Iterator[Row]:
    """The first run, which pays for whatever is made once, is not counted."""
    images = {"count": 200, "tested": 100, "size": 8, "classes": 10} if quick else {"count": 50_000}
    precision = "32-true" if device.type == "cpu" else "bf16-mixed"
    batch = ["sampler.batch_size=50"] if quick else ["sampler.batch_size=500"]
    network = [] if quick else ["backbone=resnet18_cifar", "backbone.weights=null"]
    words = [*batch, *network, f"trainer.precision={precision}"]
    if not quick:
        timed(device, ["diagnostics=none", *words], {**images, "count": 5_000})
    for name, choice in (("off", "none"), ("on", "default")):
        watch, metrics = timed(device, [f"diagnostics={choice}", *words], images)
        note = f"{images['count'] / watch.seconds:,.0f} images/s, Recall@1 {metrics['test/recall_at_1']:.3f}"
        case = f"{images['count']:,} images, {precision}, diagnostics {name}"
        yield Row(case, seconds=watch.seconds, mebibytes=watch.mebibytes, ok=True, note=note)
