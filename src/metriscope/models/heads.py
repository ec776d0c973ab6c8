"""Heads: from trunk features (B, F) to an embedding (B, D), before any normalisation.

A head is a module with an attribute ``size``, its D. Its constructor takes ``features``, the F of the trunk, and the
keys of its config.
"""

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from metriscope.errors import InputError
from metriscope.parts import PartType

Size = Annotated[int, Field(ge=1)]


class LinearHead(nn.Linear, metaclass=PartType):
    """One linear layer.

    Args:
        features: F.
        size: D, at least 1.
    """

    def __init__(self, features: Size, size: Size) -> None:
        super().__init__(features, size)
        self.size = size


class MLPHead(nn.Sequential, metaclass=PartType):
    """One hidden layer with batch norm and ReLU, then a linear layer.

    Args:
        features: F.
        size: D, at least 1.
        hidden: width of the hidden layer; None for F.
    """

    def __init__(self, features: Size, size: Size, hidden: Size | None = None) -> None:
        width = features if hidden is None else hidden
        layers = [nn.Linear(features, width, bias=False), nn.BatchNorm1d(width), nn.ReLU(inplace=True)]
        super().__init__(*layers, nn.Linear(width, size))
        self.size = size


class IdentityHead(nn.Identity, metaclass=PartType):
    """The features themselves.

    Args:
        features: F.
        size: None, or F.

    Raises:
        InputError: another size.
    """

    def __init__(self, features: Size, size: Size | None = None) -> None:
        super().__init__()
        self.size = _kept_size("identity", features, size)


class ReweightHead(nn.Module, metaclass=PartType):
    """The features, weighted by powers of a fixed number: h(x)_i = x_i / kappa^i for i = 0 .. F - 1.

    Nothing is trained, and ``kappa=1`` is the identity. The fixed re-weighting head of arXiv:2403.11391, whose formula
    was read in the authors' code; in their experiments it stands for what a trained projection head does to a trunk.
    The symmetric ReLU of their theory is not built. O(B F) time, and one buffer (F,), which no checkpoint holds.

    >>> ReweightHead(3, kappa=2.0)(torch.ones(1, 3))
    tensor([[1.0000, 0.5000, 0.2500]])

    Args:
        features: F.
        size: None, or F.
        kappa: at least 1, and so small that the last weight, kappa^-(F - 1), stays above the float32 epsilon 1.19e-7:
            at most 1.2879 for 64 features, 1.0316 for 512. None for exp(8 / F), which suits any F: the weights fall
            from 1 to about 1 / 3000, half of the way to the limit in logarithms. The authors' own value was not read.

    Raises:
        InputError: another size, or kappa out of this range.
    """

    weights: Tensor

    def __init__(
        self, features: Size, size: Size | None = None, kappa: Annotated[float, Field(ge=1)] | None = None
    ) -> None:
        super().__init__()
        self.size = _kept_size("reweight", features, size)
        kappa = math.exp(8 / features) if kappa is None else kappa
        logarithms = -math.log(kappa) * torch.arange(features, dtype=torch.float64)
        smallest = torch.finfo(torch.float32).eps
        if float(logarithms[-1]) <= math.log(smallest):
            limit = math.floor(1e4 * smallest ** (-1 / (features - 1))) / 1e4
            raise InputError(
                f"head.kappa={kappa:g}: of {features} features the last would be weighted by less than {smallest:.2g}, "
                f"the float32 epsilon: use at most {limit:g}"
            )
        self.register_buffer("weights", logarithms.exp().float(), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        return features * self.weights


def _kept_size(head: str, features: int, size: int | None) -> int:
    """The size of a head that keeps that of the features."""
    if size not in (None, features):
        raise InputError(
            f"head.size={size} does not fit the {head} head on a trunk of {features} features: "
            "set head.size=null, or use head=linear"
        )
    return features
