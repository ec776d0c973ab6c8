"""The base class of mixtures: points between samples, which a loss of pairs takes beside the samples."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from metriscope.objectives.comparison import Comparison
from metriscope.objectives.mixed import Mixtures
from metriscope.objectives.selection import Pairs
from metriscope.parts import PartType


class Mixture(nn.Module, metaclass=PartType):
    """Base class: mixes samples as each anchor sees them. In training alone; validation judges samples.

    A constructor that takes ``embedding_size``, ``num_classes`` or ``num_samples`` gets them.

    Attributes:
        paper: where the mixture comes from.
        apart: whether the loss judges the mixtures by themselves, and adds that times :attr:`weight`, with the part
            ``loss_mixed``; else they count beside the pairs, in the same sums.
        weight: of the loss of mixtures that are judged by themselves.
    """

    paper: ClassVar[str] = ""
    apart: ClassVar[bool] = False
    weight: float = 1.0

    # The constructor of nn.Module takes anything.
    def __init__(self) -> None:
        super().__init__()

    def mix(self, comparison: Comparison, pairs: Pairs) -> Mixtures | None:
        """The mixtures of a batch, without a graph; None for none. Whatever is drawn is drawn for all anchors at once.

        Args:
            comparison: of the batch, with at least one anchor.
            pairs: what the miner has selected.
        """
        raise NotImplementedError


def uniform(shape: tuple[int, ...], comparison: Comparison) -> Tensor:
    """Uniform numbers in [0, 1) of the step's generator, drawn on the CPU, so that every device gets the same."""
    drawn = torch.rand(shape, dtype=torch.float64, generator=comparison.moment.generator)
    return drawn.to(comparison.anchors.labels.device)


def place(drawn: Tensor, count: Tensor) -> Tensor:
    """Numbers in [0, 1) -> whole numbers below the count (B, 1); 0 where it is 0."""
    return torch.minimum((drawn * count).long(), count - 1).clamp_min(0)
