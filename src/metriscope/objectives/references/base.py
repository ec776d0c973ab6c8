"""The base class of references: samples beside the batch that anchors are compared with."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import nn

from metriscope.objectives.comparison import Segment
from metriscope.objectives.output import Account
from metriscope.objectives.samples import Moment, Samples
from metriscope.parts import PartType


class References(nn.Module, metaclass=PartType):
    """Base class: a memory, or synthetic samples made of the batch.

    A constructor that takes ``embedding_size``, ``num_classes`` or ``num_samples`` gets them.

    Attributes:
        paper: where the references come from.
        not_across: by ``other`` and ``same``, why they do not go with ``pairs_across``.
    """

    paper: ClassVar[str] = ""
    not_across: Mapping[str, str] = {}

    # The constructor of nn.Module takes anything.
    def __init__(self) -> None:
        super().__init__()

    def recall(self, batch: Samples, moment: Moment) -> Segment | None:
        """References for a batch, in training only; those made of the batch may be attached to its graph."""
        raise NotImplementedError

    @torch.no_grad()
    def observe(self, account: Account, moment: Moment) -> None:
        """Learn from a step: called in training, once, after the loss."""
