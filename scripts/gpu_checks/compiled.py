"""An objective as torch.compile makes it: the same gradient, and what it gains."""

from collections.abc import Iterator

import torch
from torch import Tensor

from gpu_checks.parts import FEATURES, batch, judged, objective
from gpu_checks.rows import Row, apart, measured

CASES = (("supcon", "none"), ("triplet", "all"), ("contrastive", "all"))


def run(device: torch.device, quick: bool) -> Iterator[Row]:
    """The inductor on a GPU; with ``quick`` the graph alone, which needs no compiler."""
    z, labels = (one.to(device) for one in batch(32 if quick else 2048))
    inputs, index = z.float(), torch.arange(len(z), device=device)
    for loss, miner in CASES:
        gradients = {}
        for way in ("eager", "compiled"):
            torch._dynamo.reset()
            built = objective(loss, miner).to(device)
            if way == "compiled":
                built.compile(backend="eager" if quick else "inductor")

            def step(built: torch.nn.Module = built) -> Tensor:
                leaf = inputs.detach().requires_grad_()
                value = judged(built, leaf, labels, index, inputs[:, :FEATURES])
                return torch.autograd.grad(value, leaf)[0]

            seconds, peak, gradients[way] = measured(device, step)
            error = apart(gradients[way], gradients["eager"])
            yield Row(f"{loss}, {way}", seconds=seconds, mebibytes=peak, error=error, ok=error <= 1e-3)
