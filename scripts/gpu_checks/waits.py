"""What the host waits for in a training step: nothing, but where a docstring says why."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from gpu_checks.parts import FEATURES, SIZE, batch, combinations, judged, objective
from gpu_checks.rows import Row

WAITING = {"angular", "distance_weighted", "smooth_ap", "soft_margin_triplet"}
"""Miners and losses whose docstrings say what the host waits for."""


def run(device: torch.device, quick: bool) -> Iterator[Row]:
    """A step of a network, an objective and an optimizer, after one in which everything that is lazy is made."""
    z, labels = (one.to(device) for one in batch(32 if quick else 512))
    inputs, index = z.float(), torch.arange(len(z), device=device)
    watched = device.type == "cuda"
    for loss, miner in combinations():
        case = f"{loss}, miner={miner}"
        try:
            torch.manual_seed(0)
            network = nn.Sequential(nn.Linear(SIZE, SIZE), nn.ReLU(), nn.Linear(SIZE, SIZE)).to(device)
            built = objective(loss, miner).to(device)
            optimizer = torch.optim.SGD([*network.parameters(), *built.parameters()], 1e-3, momentum=0.9)
            _step(network, built, optimizer, inputs, labels, index)
        except Exception as error:
            yield Row(case, ok=False, note=" ".join(f"{type(error).__name__}: {error}".split())[:200])
            continue
        reason = ""
        try:
            if watched:
                torch.cuda.synchronize(device)
                torch.cuda.set_sync_debug_mode("error")
            _step(network, built, optimizer, inputs, labels, index)
        except Exception as error:
            reason = " ".join(str(error).split())[:120]
        finally:
            if watched:
                torch.cuda.set_sync_debug_mode("default")
        if not watched:
            yield Row(case, ok=not reason, note=reason or "not watched: no GPU")
        elif WAITING & {loss, miner}:
            yield Row(case, note="waits, as its docstring says" if reason else "waits no longer: mend its docstring")
        else:
            yield Row(case, ok=not reason, note=reason)


def _step(
    network: nn.Module,
    built: nn.Module,
    optimizer: torch.optim.Optimizer,
    inputs: Tensor,
    labels: Tensor,
    index: Tensor,
) -> None:
    optimizer.zero_grad()
    z = nn.functional.normalize(network(inputs), dim=1)
    judged(built, z, labels, index, inputs[:, :FEATURES]).backward()
    optimizer.step()
