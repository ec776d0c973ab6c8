"""Slopes by hand against the formulas of the same losses, differentiated block by block."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from torch import Tensor
from torch.nn.functional import normalize

from benchmarks.comparing import LAYOUTS, batch, step
from benchmarks.measuring import isolated, side_by_side
from benchmarks.table import Table, milliseconds, ratio

# A formula of all pairs of a positive and a reference needs a small batch.
SIZES = {"smooth_ap": 256}


def run(quick: bool, data_dir: Path | None) -> None:
    """Print times of both forms, and how much faster the slopes by hand are."""
    from metriscope.config.objective import shipped
    from metriscope.losses import RowLoss

    print("float32, 128 dimensions; a step from embeddings to their gradient; ms: minimum (median)")
    columns = [("loss", 22), ("classes", 11), ("batch", 5), ("by hand", 15), ("formula", 15), ("faster", 8)]
    table = Table(columns, names=2)
    for name, part in shipped("loss").items():
        if issubclass(part, RowLoss) and part.kernel is not RowLoss.kernel:
            for layout in LAYOUTS:
                size = 32 if quick else SIZES.get(name, 2048)
                table.row([name, layout, str(size), *isolated(_compared, name, size, layout, 0 if quick else 0.5)])


def _compared(name: str, size: int, layout: str, seconds: float) -> tuple[str, str, str]:
    from metriscope.config.objective import shipped

    part = shipped("loss")[name]
    plain = type("Plain", (part,), {"kernel": lambda self: None})
    raw, labels = batch(size, layout)

    def value(loss: Callable[[Tensor, Tensor], Tensor], raw: Tensor, labels: Tensor) -> Tensor:
        return loss(normalize(raw), labels)

    by_hand, formula = side_by_side(
        [partial(step, partial(value, loss), raw, labels) for loss in (part(), plain())], seconds=seconds
    )
    return milliseconds(by_hand), milliseconds(formula), ratio(formula, by_hand)
