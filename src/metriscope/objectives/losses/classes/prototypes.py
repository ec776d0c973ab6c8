"""What losses share that keep several vectors for each class, of which row k C + c is the k-th of class c."""

import torch
from torch import Tensor

from metriscope.objectives.losses.classes.proxies import Own
from metriscope.unit import unit_rows


def moved(vectors: Tensor, sums: Tensor, weights: Tensor, momentum: float) -> Tensor:
    """normalise(m v_j + (1 - m) s_j / w_j), vectors drawn towards means of samples; one without weight stays as it is.

    Args:
        vectors: (J, D) of unit length.
        sums: (J, D), the weighted sums of the samples of each vector.
        weights: (J, 1), at least 0, the sums of these weights.
        momentum: m, from 0 to 1.
    """
    present = weights > 0
    drawn = unit_rows(momentum * vectors + (1 - momentum) * sums / torch.where(present, weights, 1))
    return torch.where(present, drawn, vectors)


def own_columns(own: Own, num_classes: int, per_class: int) -> Tensor:
    """(B, K) int64, the vectors of each sample's own class."""
    steps = torch.arange(per_class, device=own.column.device) * num_classes
    return own.column.unsqueeze(1) + steps
