"""A moving average of the weights of a network, which may be evaluated in the network's place."""

from collections.abc import Mapping
from copy import deepcopy
from itertools import chain

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from metriscope.models.network import Network

_AVERAGE, _NETWORK = "average.network.", "embedder."


class MovingAverage(nn.Module):
    """An exponential moving average of the weights of a network: ``a <- decay a + (1 - decay) w`` after every step.

    The first step begins it with the weights, as :class:`torch.optim.swa_utils.AveragedModel` does, so that it holds
    nothing of the random values before. Running statistics of batch norm are averaged in the same way; whole numbers,
    such as its count of batches, are copied. O(P) time and memory for P weights; the host never waits for a device,
    which it does in ``AveragedModel``, whose count of steps is a tensor.

    Lightning's ``WeightAveraging`` averages the whole module: the labels and places in a memory of embeddings as well,
    which are whole numbers, and it leaves the weights themselves in no checkpoint of a finished run.

    Args:
        network: to follow. Its values are copied.
        decay: of the average, above 0 and below 1; about ``1 / (1 - decay)`` steps are in it.
        evaluated: whether it takes the network's place wherever a set is evaluated.

    Attributes:
        network: holds the averaged values; it learns nothing.

    >>> from metriscope.models.network import Network
    >>> network = Network(nn.Identity(), nn.Linear(1, 1, bias=False), 1)
    >>> average = MovingAverage(network, 0.9)
    >>> for step, weight in enumerate((1.0, 2.0)):
    ...     _ = nn.init.constant_(network.head.weight, weight)
    ...     average.update(network, first=step == 0)
    >>> round(average.network.head.weight.item(), 6)
    1.1
    """

    def __init__(self, network: Network, decay: float, *, evaluated: bool = False) -> None:
        super().__init__()
        self.network = deepcopy(network).requires_grad_(False)
        self.evaluated = evaluated
        self._average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def update(self, network: Network, *, first: bool) -> None:
        """Take in the weights after a step.

        Args:
            network: the one that is followed.
            first: whether this is the first step of a training.
        """
        averaged: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}
        for own, other in zip(_values(self.network), _values(network), strict=True):
            if first or not own.is_floating_point():
                own.copy_(other)
                continue
            mine, theirs = averaged.setdefault(own.dtype, ([], []))
            mine.append(own)
            theirs.append(other)
        for mine, theirs in averaged.values():
            self._average(mine, theirs, 0)


def _values(network: nn.Module) -> chain[Tensor]:
    return chain(network.parameters(), network.buffers())


def network_of(state: Mapping[str, Tensor], averaged: bool) -> dict[str, Tensor]:
    """The tensors of a network by name, from those of a checkpoint.

    Args:
        state: of the checkpoint.
        averaged: whether those of the average are meant.

    Raises:
        LookupError: the checkpoint holds no average.
    """
    prefix = _AVERAGE if averaged else _NETWORK
    found = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    if averaged and not found:
        raise LookupError("the checkpoint holds no average of the weights")
    return found


def evaluated_state(state: Mapping[str, Tensor], averaged: bool) -> dict[str, Tensor]:
    """The tensors of a checkpoint, those of the network being the ones that are evaluated; without the average.

    Args:
        state, averaged: as of :func:`network_of`.
    """
    rest = {key: value for key, value in state.items() if not key.startswith((_AVERAGE, _NETWORK))}
    return {f"{_NETWORK}{key}": value for key, value in network_of(state, averaged).items()} | rest
