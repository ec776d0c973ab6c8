"""Time, peak memory and error of two losses by the engine, by matrices of all pairs, and by a list of all triplets."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from gpu_checks.parts import batch
from gpu_checks.rows import MEMORY, Row, apart, is_full, measured
from metriscope.losses import SupConLoss, TripletLoss
from metriscope.objectives.distances.cosine import Cosine

DIMENSION, TEMPERATURE, MARGIN = 128, 0.1, 0.2
SupCon = SupConLoss(temperature=TEMPERATURE)
Triplet = TripletLoss(margin=MARGIN)

Side = Callable[[Tensor, Tensor], Tensor]


def supcon_engine(z: Tensor, labels: Tensor) -> Tensor:
    value: Tensor = SupCon(z, labels, distance=Cosine())
    return value


def supcon_matrices(z: Tensor, labels: Tensor) -> Tensor:
    """The formula as the paper's code has it, by matrices of all pairs in the graph."""
    z = nn.functional.normalize(z, dim=1)
    others = ~torch.eye(len(z), dtype=torch.bool, device=z.device)
    positive = (labels.unsqueeze(1) == labels) & others
    logits = (z @ z.T / TEMPERATURE).masked_fill(~others, -torch.finfo(z.dtype).max)
    chances = logits - logits.logsumexp(1, keepdim=True)
    return -((chances * positive).sum(1) / positive.sum(1).clamp_min(1)).mean()


def triplet_engine(z: Tensor, labels: Tensor) -> Tensor:
    value: Tensor = Triplet(z, labels)
    return value


def triplet_list(z: Tensor, labels: Tensor) -> Tensor:
    """All triplets at once, (B, B, B)."""
    squares = z.square().sum(1)
    d = (squares.unsqueeze(1) + squares - 2 * z @ z.T).clamp_min(1e-12).sqrt()
    same = labels.unsqueeze(1) == labels
    positive = same & ~torch.eye(len(z), dtype=torch.bool, device=z.device)
    valid = positive.unsqueeze(2) & ~same.unsqueeze(1)
    costs = (d.unsqueeze(2) - d.unsqueeze(1) + MARGIN).clamp_min(0)
    return torch.where(valid, costs, 0).sum() / valid.sum().clamp_min(1)


LOSSES: dict[str, dict[str, Side]] = {
    "supcon": {"engine": supcon_engine, "matrices": supcon_matrices},
    "triplet": {"engine": triplet_engine, "list of all": triplet_list},
}
PRECISIONS = {"float32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16}


def run(device: torch.device, quick: bool) -> Iterator[Row]:
    """The right gradient is the engine's in float64 of the same numbers; the section "exact" holds it to the CPU's."""
    for count in (32, 64) if quick else (4096, 16_384, 65_536):
        z, labels = (one.to(device) for one in batch(count, DIMENSION, per_class=16, classes=count // 16))
        for name, sides in LOSSES.items():
            for precision, dtype in PRECISIONS.items():
                rounded = z.to(dtype)
                with products(precision):
                    right = _step(sides["engine"], rounded.double(), labels)
                    for side, work in sides.items():
                        yield _row(f"{name}, {count:,}, {precision}, {side}", device, work, rounded, labels, right)


def _row(case: str, device: torch.device, work: Side, z: Tensor, labels: Tensor, right: Tensor) -> Row:
    try:
        seconds, peak, gradient = measured(device, lambda: _step(work, z, labels), 3 if len(z) <= 4096 else 1)
        return Row(case, seconds=seconds, mebibytes=peak, error=apart(gradient, right))
    except Exception as error:
        if not is_full(error):
            return Row(case, ok=False, note=" ".join(f"{type(error).__name__}: {error}".split())[:200])
    # The exception has to be gone: it holds what the step had made.
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return Row(case, note=MEMORY)


def _step(work: Side, z: Tensor, labels: Tensor) -> Tensor:
    leaf = z.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(work(leaf, labels), leaf)
    return gradient


@contextmanager
def products(precision: str) -> Iterator[None]:
    """Products of float32 in tf32, or in full."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
