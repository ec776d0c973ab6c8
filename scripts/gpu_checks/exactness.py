"""The same values, gradients and neighbours as on the CPU, in float64."""

from collections.abc import Iterator

import torch
from torch import Tensor

from gpu_checks.parts import FEATURES, batch, combinations, judged, objective
from gpu_checks.rows import Row, apart
from metriscope.evaluation.search.neighbors import nearest

BOUND = 1e-9
# Their docstrings say what a GPU does in another way.
ELSEWHERE = {"mann_whitney": "by nodes of similarity on a GPU"}


def run(device: torch.device, quick: bool) -> Iterator[Row]:
    """Every loss with its first miner and every miner, then the search."""
    z, labels = batch(64 if quick else 600)
    for loss, miner in combinations():
        case = f"{loss}, miner={miner}"
        try:
            places = torch.device("cpu"), device
            here, there = (_value_and_gradient(loss, miner, place, z, labels) for place in places)
        except Exception as error:
            yield Row(case, ok=False, note=" ".join(f"{type(error).__name__}: {error}".split())[:200])
            continue
        error = max(apart(found, wanted) for found, wanted in zip(there, here, strict=True))
        if loss in ELSEWHERE and device.type != "cpu":
            yield Row(case, error=error, note=ELSEWHERE[loss])
        else:
            yield Row(case, error=error, ok=error <= BOUND)
    for size, dimension in ((300, 16),) if quick else ((20_000, 128), (5_000, 512)):
        points = batch(size, dimension)[0].float()
        wanted, found = (nearest(points.to(at), points.to(at), 10, exclude_self=True).cpu() for at in ("cpu", device))
        # Ties of rounded distances may be broken in another way, which no distance shows.
        lengths = [(points.double().unsqueeze(1) - points.double()[some]).norm(dim=2) for some in (found, wanted)]
        error, same = apart(*lengths), float((found == wanted).double().mean())
        case = f"10 neighbours of {size:,} x {dimension}"
        yield Row(case, error=error, ok=error <= 1e-6, note=f"{same:.4%} the same")


def _value_and_gradient(
    loss: str, miner: str, device: torch.device, z: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    built = objective(loss, miner).double().to(device)
    leaf = z.to(device).requires_grad_()
    index = torch.arange(len(z), device=device)
    features = z[:, :FEATURES].to(device)
    value = judged(built, leaf, labels.to(device), index, features)
    (gradient,) = torch.autograd.grad(value, leaf)
    return value.detach().cpu(), gradient.cpu()
