"""Losses and miners of pytorch-metric-learning, by the name of their class."""

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from metriscope.errors import InputError
from metriscope.objectives.arguments import Count
from metriscope.objectives.losses.base import Loss
from metriscope.objectives.miners.base import Miner
from metriscope.objectives.output import LossOutput
from metriscope.objectives.selection import Comparison, Pairs, Selection, Triplets


def _peer_class(kind: str, name: str) -> Any:
    """``pytorch_metric_learning.<kind>.<name>``.

    Raises:
        InputError: the package is not installed, or has no such class (the message names the nearest).
    """
    from importlib import import_module

    from metriscope.errors import nearest

    try:
        module = import_module(f"pytorch_metric_learning.{kind}")
    except ImportError as error:
        raise InputError(f"{kind[:-2]}=pml needs another package: pip install pytorch-metric-learning") from error
    choices = [key for key, value in vars(module).items() if inspect.isclass(value)]
    if name not in choices:
        raise InputError(f"pytorch_metric_learning.{kind} has no {name}{nearest(name, choices)}")
    return getattr(module, name)


class PeerLoss(Loss):
    """A loss of pytorch-metric-learning, with that library's own distance and reduction.

    The number of active terms is unknown. Lists and masks from a miner are converted to that library's index tuples,
    which takes a host-device synchronisation. A loss that takes ``num_classes`` or ``embedding_size`` gets them.

    Args:
        peer: name of the class in ``pytorch_metric_learning.losses``.
        arguments: arguments of its constructor.
    """

    accepts = frozenset({"all", "none", "pairs", "triplets"})
    hinge = False
    takes_sizes = True

    def __init__(
        self, peer: str, num_classes: Count, embedding_size: Count, arguments: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__()
        constructor = _peer_class("losses", peer)
        known = inspect.signature(constructor).parameters
        sizes = {"num_classes": num_classes, "embedding_size": embedding_size}
        given = {key: value for key, value in sizes.items() if key in known} | dict(arguments or {})
        self.bound_to_classes = given.get("num_classes") is not None
        try:
            self.peer = constructor(**given)
        except TypeError as error:
            raise InputError(f"loss.arguments: {peer} says: {error}") from error

    def forward(self, comparison: Comparison, selection: Selection) -> LossOutput:
        indices = None
        if isinstance(selection, Triplets):
            indices = tuple(
                column[selection.valid] for column in (selection.anchor, selection.positive, selection.negative)
            )
        elif isinstance(selection, Pairs):
            indices = (*selection.positive.nonzero().unbind(1), *selection.negative.nonzero().unbind(1))
        value: Tensor = self.peer(comparison.embeddings, comparison.labels, indices)
        terms = comparison.positive.sum() + comparison.negative.sum()
        return LossOutput(value, None, terms, {})


class PeerMiner(Miner):
    """A miner of pytorch-metric-learning.

    Args:
        peer: name of the class in ``pytorch_metric_learning.miners``.
        arguments: arguments of its constructor.
    """

    kind = "triplets"

    def __init__(self, peer: str, arguments: Mapping[str, Any] | None = None) -> None:
        try:
            self.peer = _peer_class("miners", peer)(**dict(arguments or {}))
        except TypeError as error:
            raise InputError(f"miner.arguments: {peer} says: {error}") from error

    def select(self, comparison: Comparison) -> Selection:
        found = self.peer(comparison.embeddings.detach(), comparison.labels)
        if len(found) == 3:
            anchor, positive, negative = found
            return Triplets(anchor, positive, negative, torch.ones_like(anchor, dtype=torch.bool))
        masks = []
        for row, column in (found[:2], found[2:]):
            mask = torch.zeros_like(comparison.positive)
            mask[row, column] = True
            masks.append(mask)
        return Pairs(*masks)
