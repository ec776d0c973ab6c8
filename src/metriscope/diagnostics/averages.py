"""Running sums over the steps of an epoch."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

Measures = Mapping[str, tuple[Tensor, Tensor | float]]
"""Name -> (numerator, denominator): an epoch's value is a ratio of sums, not a mean of ratios."""


def ratio(numerator: Tensor, denominator: Tensor | float) -> float:
    """One measure as a number; 0 where the denominator is 0. Waits for the device."""
    return float(numerator) / float(denominator) if float(denominator) != 0 else 0.0


class Averages:
    """Sums of numerators and denominators, kept on the device so that no step waits for them."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}

    def add(self, measures: Measures) -> None:
        for name, (numerator, denominator) in measures.items():
            top = numerator.detach().double()
            pair = torch.stack([top, torch.as_tensor(denominator, dtype=top.dtype, device=top.device)])
            self.sums[name] = self.sums[name].to(top.device) + pair if name in self.sums else pair

    def compute(self, distributed: bool) -> dict[str, float]:
        """Ratios by name; with ``distributed`` the sums run over all processes."""
        if not self.sums:
            return {}
        device = max((pair.device for pair in self.sums.values()), key=lambda d: d.type == "cuda")
        table = torch.stack([pair.to(device) for pair in self.sums.values()])
        if distributed and torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(table)
        ratios = (table[:, 0] / table[:, 1]).where(table[:, 1] != 0, 0).tolist()
        return dict(zip(self.sums, ratios, strict=True))

    def state_dict(self) -> dict[str, Any]:
        return dict(self.sums)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.sums = dict(state)
