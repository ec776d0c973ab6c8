"""A trunk for pairs of vectors of two modalities: one tower for each side, to features of one size."""

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from metriscope.errors import InputError
from metriscope.models.paired import OneSide, Pairs
from metriscope.models.shapes import of_pairs
from metriscope.models.trunk import Body, Shape
from metriscope.parts import judged

_Count = Annotated[int, Field(ge=1)]


class TwoTower(nn.Module):
    """Pairs (B, F0) and (B, F1) to features (2 B, F), in which the two rows of a pair follow each other.

    Vectors of one side alone give one row each. A tower knows nothing of the other: with batch norm, the statistics of
    a side are those of its own rows.
    """

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first = first
        self.second = second

    def forward(self, inputs: Pairs | OneSide) -> Tensor:
        if isinstance(inputs, OneSide):
            alone: Tensor = (self.second if inputs.side else self.first)(inputs.values)
            return alone
        return torch.stack([self.first(inputs.first), self.second(inputs.second)], 1).flatten(0, 1)


@judged
def two_tower(
    shape: Shape,
    *,
    first: Sequence[_Count] = (512,),
    second: Sequence[_Count] = (512,),
    size: _Count = 128,
    batch_norm: bool = True,
) -> Body:
    """One tower of fully connected layers for each side of a pair, both to features of one size.

    Hidden layers have batch norm and ReLU, the last layer is linear: with ``head=identity`` the features are the
    embedding, and any other head is shared by both sides. arXiv:1908.03737 and its successors have such towers, of
    1024-64 and 128-1024-64 units in their public code; what the papers themselves say of sizes is not verified.

    Args:
        shape: (F0, F1), how many numbers the vectors of each side have.
        first, second: widths of the hidden layers of each tower; empty for a linear map.
        size: F, the features of both.
        batch_norm: whether hidden layers have it; False for biases in its place, which
            ``trainer.embed_chunk`` needs.

    Raises:
        InputError: the data are not pairs.
    """
    if not of_pairs(shape):
        raise InputError(
            f"backbone=two_tower reads pairs of vectors and the data gives {tuple(shape)}: use dataset=paired, or "
            f"{'backbone=mlp' if len(shape) == 1 else 'another backbone, such as small_cnn'}"
        )
    towers = [_tower(inputs, hidden, size, batch_norm) for inputs, hidden in zip(shape, (first, second), strict=True)]
    body = TwoTower(*(nn.Sequential(*layers) for layers in towers))
    # The layer k of one tower learns as the layer k of the other does, counted from the output.
    depth = max(map(len, towers))
    position = {
        f"{side}.{place}.{name}": depth - len(layers) + place
        for side, layers in zip(("first", "second"), towers, strict=True)
        for place, layer in enumerate(layers)
        for name, _ in layer.named_parameters()
    }
    return Body(body, size, position=position, paired=True)


def _tower(inputs: int, hidden: Sequence[int], size: int, batch_norm: bool) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for width in hidden:
        linear = nn.Linear(inputs, width, bias=not batch_norm)
        layers.append(nn.Sequential(linear, *([nn.BatchNorm1d(width)] if batch_norm else []), nn.ReLU(inplace=True)))
        inputs = width
    return [*layers, nn.Linear(inputs, size)]
