"""Gradient norms of GREEDINESS ([CT], arXiv:2510.02161), of parameters and of embeddings."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from metriscope.diagnostics.averages import Measures


def parameter_norm(parameters: Iterable[nn.Parameter], device: torch.device) -> Tensor:
    """L2 norm of the gradients of all parameters taken together, a scalar on ``device``; 0 if there are none."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    if not gradients:
        return torch.zeros((), device=device)
    norm: Tensor = torch.stack(torch._foreach_norm(gradients)).float().norm()
    return norm


def parameter_norms(groups: dict[str, list[nn.Parameter]], device: torch.device) -> Measures:
    """``grad_norm`` over everything and ``grad_norm_<part>`` for every part with parameters."""
    norms = {name: parameter_norm(group, device) for name, group in groups.items() if group}
    total = torch.stack(list(norms.values())).norm()
    return {"grad_norm": (total, 1.0), **{f"grad_norm_{name}": (n, 1.0) for name, n in norms.items()}}


def embedding_norms(gradient: Tensor, active: Tensor | None) -> Measures:
    """Mean of ||dL/dz_i|| over all samples and, where these are known, over the active ones.

    Args:
        gradient: (B, D), dL/dz.
        active: (B,) bool, or None.
    """
    norms = gradient.float().norm(dim=1)
    of_all: Measures = {"grad_norm_embedding": (norms.sum(), float(len(norms)))}
    return (
        of_all if active is None else {**of_all, "grad_norm_embedding_active": ((norms * active).sum(), active.sum())}
    )
