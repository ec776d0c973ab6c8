"""What the active ratio of pairs costs, beside the step of the loss that it looks at."""

from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.comparing import LAYOUTS, batch, built
from benchmarks.measuring import isolated, side_by_side
from benchmarks.table import Table

LOSSES = ("triplet", "supcon")
SIZES = (128, 512, 2000)
"""The largest has the 4 million pairs that are looked at in every step."""


def run(quick: bool) -> None:
    """Print the time of a step without and with the pass over its pairs."""
    columns = [("loss", 10), ("classes", 12), ("batch", 6), ("ms without", 11), ("ms with", 9), ("ratio", 7)]
    table = Table(columns, names=2)
    for name in LOSSES:
        for layout in LAYOUTS:
            for size in (32,) if quick else SIZES:
                without, complete = isolated(compare, name, size, layout, 0.1 if quick else 3.0)
                times = [f"{seconds * 1000:.2f}" for seconds in (without, complete)]
                table.row([name, layout, str(size), *times, f"{complete / without:.2f}"])


def compare(name: str, size: int, layout: str, seconds: float) -> tuple[float, float]:
    """Median seconds of a step, without and with the pass, in turns."""
    raw, labels = batch(size, layout)
    objective = built([f"loss={name}"], int(labels.max()) + 1)
    sides = [partial(_step, objective, raw, labels, threshold) for threshold in (None, 1e-3)]
    without, complete = side_by_side(sides, seconds=seconds)
    return without.median, complete.median


def _step(objective: nn.Module, raw: Tensor, labels: Tensor, threshold: float | None) -> None:
    """Forward, backward, and the measures of both; without a threshold pairs are left out."""
    from metriscope.callbacks.greediness import judged_matrices, pull_measures
    from metriscope.objectives.samples import Spaces
    from metriscope.unit import unit_rows

    leaf = raw.detach().requires_grad_()
    embeddings = unit_rows(leaf)
    embeddings.retain_grad()
    found = objective(Spaces.of(embeddings, labels))
    matrices = [matrix for matrix in judged_matrices(found) if matrix.requires_grad]
    for matrix in matrices:
        matrix.retain_grad()
    found.output.value.backward()
    assert isinstance(embeddings.grad, torch.Tensor)
    pull_measures(found, [m.grad for m in matrices], embeddings.grad, bool(objective.hinge), threshold)
