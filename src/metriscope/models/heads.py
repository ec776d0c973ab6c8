"""Heads: from trunk features (B, F) to an embedding (B, D), before any normalisation.

A head is a module with an attribute ``size``, its D. Its constructor takes ``features``, the F of the trunk, and the
keys of its config.
"""

from typing import Annotated

from pydantic import Field
from torch import nn

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
        if size not in (None, features):
            raise InputError(
                f"head.size={size} does not fit the identity head on a trunk of {features} features: "
                "set head.size=null, or use head=linear"
            )
        self.size = features
