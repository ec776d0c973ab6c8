"""The network of a run: trunk, head, and L2 normalisation."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from metriscope.models.paired import OneSide, Pairs
from metriscope.models.trunk import Trunk
from metriscope.unit import unit_parts, unit_rows


class Embedding(NamedTuple):
    """The outputs of the network for a batch.

    A batch of B pairs has 2 B rows, the two of a pair after each other.

    Attributes:
        z: (B, D) the embedding that losses and retrieval use, of unit length if normalised; at least float32.
        raw: (B, D) the head's output before normalisation; at least float32.
        features: (B, F) the trunk's output, in the dtype that the trunk computed in.
    """

    z: Tensor
    raw: Tensor
    features: Tensor


def of_layer(layer: str, embedding: Embedding) -> tuple[Tensor, Tensor]:
    """The vectors to rank, and the same vectors before scaling: (B, D) each."""
    if layer == "embedding":
        return embedding.z, embedding.raw
    features = embedding.features.to(embedding.z.dtype)
    return unit_rows(features), features


class Features(NamedTuple):
    """Features (B, F) of a batch that a frozen trunk has computed before; only the head has to run."""

    values: Tensor


class Network(nn.Module):
    """Inputs (B, *shape), or :class:`Pairs`, :class:`OneSide` or :class:`Features` of them, to an :class:`Embedding`.

    Args:
        trunk: gives features (B, F).
        head: turns features into (B, D).
        size: D.
        normalize: whether ``z`` is ``raw`` scaled to unit length.
        parts: number of blocks of ``raw`` that are scaled each on its own, see :func:`metriscope.unit.unit_parts`. It
            divides D.
    """

    def __init__(self, trunk: Trunk, head: nn.Module, size: int, *, normalize: bool = True, parts: int = 1) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = head
        self.size = size
        self.normalize = normalize
        self.parts = parts

    def sides(self, rows: Tensor) -> Tensor | None:
        """The side, 0 or 1, of each row of an output for pairs, int64 (2 B,); None where an example is one row.

        Args:
            rows: (2 B, ...), of which the length and the device count.
        """
        return torch.arange(len(rows), device=rows.device) % 2 if self.trunk.paired else None

    def forward(self, inputs: Tensor | Features | Pairs | OneSide) -> Embedding:
        features = inputs.values if isinstance(inputs, Features) else self.trunk(inputs)
        raw = self.head(features)
        raw = raw.to(torch.promote_types(raw.dtype, torch.float32))
        return Embedding(unit_parts(raw, self.parts) if self.normalize else raw, raw, features)
