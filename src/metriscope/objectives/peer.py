"""Losses and miners of pytorch-metric-learning, by the name of their class."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from metriscope.errors import InputError
from metriscope.objectives.arguments import Count
from metriscope.objectives.comparison import Comparison, Segment
from metriscope.objectives.losses.base import Loss
from metriscope.objectives.miners.base import Miner
from metriscope.objectives.output import LossOutput
from metriscope.objectives.peer_classes import build
from metriscope.objectives.peer_trial import (
    Indices,
    LossTraits,
    MinerTraits,
    forget_graph,
    loss_traits,
    miner_traits,
    without_self,
)
from metriscope.objectives.selection import Pairs, Selection, TripletBand, Triplets, as_pairs


class PeerLoss(Loss):
    """A loss of pytorch-metric-learning, with that library's own distance and reduction.

    The number of active terms is unknown. Lists and masks from a miner are converted to that library's index tuples,
    which takes a host-device synchronisation. With a memory, all pairs are listed in this way, so that no sample is
    compared with itself. A loss that takes ``num_classes`` or ``embedding_size`` gets them.

    Args:
        peer: name of the class in ``pytorch_metric_learning.losses``.
        arguments: arguments of its constructor.
    """

    accepts = frozenset({"all", "none", "pairs", "triplets"})
    hinge = False
    not_across = dict.fromkeys(("other", "same"), "that library goes by labels alone, and knows no sides")

    def __init__(
        self, peer: str, num_classes: Count, embedding_size: Count, arguments: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__()
        traits = self.traits(peer, arguments)
        self.accepts = traits.accepts  # type: ignore[misc]
        self._name, self._no_memory = peer, traits.no_memory
        sizes = {"num_classes": num_classes, "embedding_size": embedding_size}
        self.peer, self.bound_to_classes = build("losses", peer, arguments, sizes)

    @staticmethod
    def traits(peer: str, arguments: Mapping[str, Any] | None = None) -> LossTraits:
        """What the class takes with these arguments; raises as the constructor."""
        return loss_traits(peer, arguments)

    def forward(self, comparison: Comparison, selection: Selection) -> LossOutput:
        everything = isinstance(selection, TripletBand) and selection.unbounded and selection.pairs is None
        hears = "pairs" in self.accepts
        if everything or not hears:
            comparison, _ = _labelled(comparison)
        embeddings, labels = comparison.anchors.embeddings, comparison.anchors.labels
        references = comparison.references.embeddings
        if references is embeddings:
            value = self.peer(embeddings, labels, None if everything or not hears else _indices(selection, comparison))
        elif self._no_memory:
            raise InputError(f"{self._name} cannot compare with a memory: {self._no_memory}")
        elif not hears and comparison.negatives_only is not None:
            raise InputError(f"{self._name} cannot compare with references that are negatives alone: it goes by labels")
        else:
            known = comparison.references.labels >= 0
            indices = _renumbered(_indices(selection, comparison), known.cumsum(0) - 1)
            value = self.peer(embeddings, labels, indices, references[known], comparison.references.labels[known])
        forget_graph(self.peer)
        value = value.reshape(())
        # Some take the mean over anchors that have a positive, of which there may be none.
        nothing = value.isnan() & ~comparison.positive.any() & embeddings.isfinite().all()
        value = torch.where(nothing, embeddings.sum() * 0, value)
        terms = comparison.positive.sum() + comparison.negative.sum()
        return LossOutput(value, None, terms, {})


class PeerMiner(Miner):
    """A miner of pytorch-metric-learning, with that library's own distance. It selects from a memory as well.

    Args:
        peer: name of the class in ``pytorch_metric_learning.miners``.
        arguments: arguments of its constructor.
    """

    # Or pairs: an instance knows.
    kind = "triplets"
    not_across = dict.fromkeys(("other", "same"), "that library goes by labels alone, and knows no sides")

    def __init__(self, peer: str, arguments: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        traits = self.traits(peer, arguments)
        self.kind = traits.kind  # type: ignore[misc]
        self._name, self._no_memory = peer, traits.no_memory
        self.peer, _ = build("miners", peer, arguments, {})

    @staticmethod
    def traits(peer: str, arguments: Mapping[str, Any] | None = None) -> MinerTraits:
        """What the class gives with these arguments; raises as the constructor."""
        return miner_traits(peer, arguments)

    def select(self, comparison: Comparison) -> Selection:
        embeddings, labels = comparison.anchors.embeddings.detach(), comparison.anchors.labels
        references = comparison.references.embeddings
        if references is comparison.anchors.embeddings:
            labelled, rows = _labelled(comparison)
            found = self.peer(labelled.anchors.embeddings.detach(), labelled.anchors.labels)
            if labelled is not comparison:
                found = tuple(rows[column] for column in found)
        elif self._no_memory:
            raise InputError(f"{self._name} cannot select from a memory: {self._no_memory}")
        else:
            places = (comparison.references.labels >= 0).nonzero().squeeze(1)
            found = self.peer(embeddings, labels, references[places].detach(), comparison.references.labels[places])
            found = _allowed(without_self(_renumbered(found, places)), comparison)
        if len(found) == 3:
            anchor, positive, negative = found
            return Triplets(anchor, positive, negative, comparison.anchors.labels[anchor] >= 0)
        masks = []
        for row, column in (found[:2], found[2:]):
            mask = torch.zeros_like(comparison.positive)
            mask[row, column] = True
            masks.append(mask & (comparison.anchors.labels >= 0).unsqueeze(1))
        return Pairs(masks[0], masks[1])


def _labelled(comparison: Comparison) -> tuple[Comparison, Tensor]:
    """The comparison of the samples of a batch that have a class, and their positions.

    The other library would take -1 for a class. References beside the batch stay as they are.
    """
    rows = (comparison.anchors.labels >= 0).nonzero().squeeze(1)
    alone = comparison.references.embeddings is comparison.anchors.embeddings
    if len(rows) == len(comparison.anchors.labels) or not alone:
        return comparison, rows
    anchors = comparison.anchors.at(rows)
    return Comparison(anchors, [Segment(anchors)], comparison.distance, comparison.moment), rows


def _allowed(found: Indices, comparison: Comparison) -> Indices:
    """A selection without references as positives that are negatives alone."""
    if comparison.negatives_only is None:
        return found
    kept = ~comparison.negatives_only[found[1]]
    if len(found) == 3:
        return found[0][kept], found[1][kept], found[2][kept]
    return found[0][kept], found[1][kept], *found[2:]


def _indices(selection: Selection, comparison: Comparison) -> Indices:
    """A selection as the index tuple of the other library: of triplets (a, p, n) or of pairs (a, p, a, n)."""
    if isinstance(selection, Triplets):
        selection.check_pairs()
        a, p, n = (column[selection.valid] for column in (selection.anchor, selection.positive, selection.negative))
        return a, p, n
    pairs = as_pairs(selection, comparison)
    return (*pairs.positive.nonzero().unbind(1), *pairs.negative.nonzero().unbind(1))


def _renumbered(indices: Indices, numbers: Tensor) -> Indices:
    """Indices whose references have other numbers."""
    if len(indices) == 3:
        anchor, positive, negative = indices
        return anchor, numbers[positive], numbers[negative]
    return indices[0], numbers[indices[1]], indices[2], numbers[indices[3]]
