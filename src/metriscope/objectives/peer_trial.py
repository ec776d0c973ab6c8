"""What losses and miners of pytorch-metric-learning can do, found out on a batch of eight before data are loaded."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

from metriscope.objectives.peer_classes import SIZES, build, one_line
from metriscope.parts import ArgumentError

_LABELS = torch.tensor([0, 1, 2, 0, 1, 0, 3, 2])
# Two anchors of one class, which are the first two of their references as well.
_ANCHORS = torch.tensor([0, 0])
_SIZES = {"num_classes": 4, "embedding_size": 8}

Indices = tuple[Tensor, ...]


class LossTraits(NamedTuple):
    name: str
    accepts: frozenset[str]
    """Kinds of selection that the loss takes."""
    no_memory: str
    """Why the loss cannot compare with a memory; empty where it can."""


class MinerTraits(NamedTuple):
    name: str
    kind: str
    """Kind of selection that the miner gives."""
    no_memory: str
    """Why the miner cannot select from a memory; empty where it can."""


def loss_traits(name: str, arguments: Mapping[str, Any] | None) -> LossTraits:
    """What a loss takes.

    Raises:
        InputError: as of :func:`build`.
        ArgumentError: the loss cannot be built, or fails on a batch.
    """
    with _same_numbers():
        # Sizes of the run's own are not those of the batch here.
        own = {key: value for key, value in (arguments or {}).items() if key not in SIZES or value is None}
        loss, _ = build("losses", name, own if arguments else arguments, _SIZES)
        batch = _embeddings(_LABELS)
        try:
            # The second step meets what the first has left behind.
            values = [_value(loss, batch, _LABELS), _value(loss, batch, _LABELS)]
            _value(loss, batch[:1], _LABELS[:1])
        except Exception as error:
            raise _failed(name, arguments, one_line(error)) from error
        if not all(value.isfinite() for value in values):
            raise _failed(name, arguments, "its value or gradient is not finite")
        accepts = frozenset({"all", "none", "pairs", "triplets"} if _hears(loss, batch) else {"all", "none"})
        return LossTraits(name, accepts, _against_memory(loss))


def miner_traits(name: str, arguments: Mapping[str, Any] | None) -> MinerTraits:
    """What a miner gives; raises as :func:`loss_traits`."""
    with _same_numbers():
        miner, _ = build("miners", name, arguments, {})
        try:
            found = miner(_embeddings(_LABELS), _LABELS)
        except Exception as error:
            raise _failed(name, arguments, one_line(error)) from error
        return MinerTraits(name, "triplets" if len(found) == 3 else "pairs", _from_memory(miner))


def forget_graph(peer: torch.nn.Module) -> None:
    """Cut off what a loss keeps for its next step from the graph of this one."""
    for module in peer.modules():
        for key, value in vars(module).items():
            if isinstance(value, Tensor) and value.grad_fn is not None:
                setattr(module, key, value.detach())


def without_self(indices: Indices) -> Indices:
    """Indices without positives that are the anchor itself, where the references begin with the batch."""
    anchor, positive, *negatives = indices
    other = anchor != positive
    if len(negatives) == 1:
        return anchor[other], positive[other], negatives[0][other]
    return anchor[other], positive[other], *negatives


def _failed(name: str, arguments: Mapping[str, Any] | None, line: str) -> ArgumentError:
    if arguments:
        return ArgumentError("arguments", arguments, f"{name} fails on a batch: {line}")
    return ArgumentError("peer", name, f"it fails on a batch: {line}")


@contextmanager
def _same_numbers() -> Iterator[None]:
    """Random numbers that are the same in every trial, and no business of the caller's generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def _embeddings(labels: Tensor, spread: float = 2.0) -> Tensor:
    """(N, 8) unit rows around one centre for each class."""
    noise = torch.randn(len(labels), _SIZES["embedding_size"])
    return normalize(torch.eye(len(noise[0]))[labels] + spread * noise, dim=1).requires_grad_()


def _value(loss: Any, embeddings: Tensor, labels: Tensor, *rest: Any) -> Tensor:
    """The value of a loss; not finite where its gradient is not."""
    value: Tensor = loss(embeddings, labels, *rest).reshape(())
    forget_graph(loss)
    (gradient,) = torch.autograd.grad(value, embeddings)
    return value.detach() + 0 * gradient.sum()


def _hears(loss: Any, batch: Tensor) -> bool:
    """Whether a loss takes a selection, and goes by it."""
    positive = (_LABELS.unsqueeze(1) == _LABELS).fill_diagonal_(False)
    negative = _LABELS.unsqueeze(1) != _LABELS
    positive[2:], negative[2:] = False, False
    try:
        some = _value(deepcopy(loss), batch, _LABELS, (*positive.nonzero().unbind(1), *negative.nonzero().unbind(1)))
    except Exception:
        return False
    return bool(some == 0 or some != _value(deepcopy(loss), batch, _LABELS))


def _against_memory(loss: Any) -> str:
    anchors, past = _embeddings(_ANCHORS), _embeddings(_LABELS).detach()
    labels = torch.cat([_ANCHORS, _LABELS])
    positive = _ANCHORS.unsqueeze(1) == labels
    negative = ~positive
    positive[:, : len(_ANCHORS)] = False
    indices = (*positive.nonzero().unbind(1), *negative.nonzero().unbind(1))
    values = []
    for _ in range(2):  # two batches that no index names: they must not matter
        references = torch.cat([_embeddings(_ANCHORS).detach(), past])
        try:
            values.append(_value(deepcopy(loss), anchors, _ANCHORS, indices, references, labels))
        except Exception:
            return "it takes no references beside the batch"
    return "" if torch.isclose(values[0], values[1]) else "it would compare each sample with itself as well"


def _from_memory(miner: Any) -> str:
    anchors, past = _embeddings(_ANCHORS, 0.3), _embeddings(_LABELS, 0.3)
    labels = torch.cat([_ANCHORS, _LABELS])
    try:
        found = without_self(miner(anchors, _ANCHORS, torch.cat([anchors, past]), labels))
        elsewhere = miner(anchors, _ANCHORS, past, _LABELS)
    except Exception:
        return "it takes no references beside the batch"
    only_itself = len(found[1]) == 0 and len(elsewhere[1]) > 0
    return "it would choose each sample itself as its positive" if only_itself else ""
