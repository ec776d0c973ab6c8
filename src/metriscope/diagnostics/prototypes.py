"""How classes use their prototypes, where a loss has several vectors for each class."""

import math

import torch
from torch import Tensor

from metriscope.objectives.losses.classes.prototypes import own_columns
from metriscope.objectives.losses.classes.proxies import own_classes
from metriscope.objectives.objective import Step


class PrototypeUsage:
    """Counts how often each prototype is the one of its class that is most similar to a sample.

    Of K prototypes of a class with n samples, n_k of them at prototype k, ``prototype_entropy`` is the mean over the
    classes that were seen of -sum_k (n_k / n) log(n_k / n) / log K: 1 where samples divide evenly, 0 where one
    prototype has them all. ``prototypes_dead`` is the share, among the prototypes of these classes, of those that have
    no sample. As the distance to the most similar vector is what counts, losses compare whichever way they weigh the
    others. Proposed as "usage entropy"; the definition is this project's.

    Counts are those since the last :meth:`reset`, of an epoch in a run: single batches have too few samples of a class.
    The vectors move meanwhile. O(B K) time, O(K C) memory; nothing waits for the device.
    """

    def __init__(self) -> None:
        self.counts: Tensor | None = None
        """(K, C) int64."""

    def reset(self) -> None:
        """Forget all samples."""
        self.counts = None

    @torch.no_grad()
    def observe(self, step: Step) -> None:
        """Count a batch, by the first loss of the step that has several vectors for each class."""
        for account in step.accounts:
            similarities, per_class = account.output.similarities, vectors_per_class(account.loss)
            if similarities is not None and per_class > 1:
                self.add(similarities, account.comparison.anchors.labels, per_class)
                return

    def add(self, similarities: Tensor, labels: Tensor, per_class: int) -> None:
        """Count a batch.

        Args:
            similarities: (B, K C), of which column k C + c is the k-th vector of class c.
            labels: (B,); a label outside of 0 ... C - 1 does not count.
            per_class: K.
        """
        num_classes = similarities.shape[1] // per_class
        own = own_classes(labels, num_classes)
        chosen = similarities.gather(1, own_columns(own, num_classes, per_class)).argmax(1)
        if self.counts is None:
            self.counts = torch.zeros(per_class, num_classes, dtype=torch.int64, device=labels.device)
        counts = self.counts.to(labels.device).flatten()
        self.counts = counts.index_add(0, chosen * num_classes + own.column, own.known.long()).view_as(self.counts)

    def measures(self) -> dict[str, float]:
        """Both figures; nothing where no sample was counted."""
        if self.counts is None or not self.counts.any():
            return {}
        seen = self.counts[:, self.counts.sum(0) > 0].double()
        shares = seen / seen.sum(0)
        entropy = -torch.xlogy(shares, shares).sum(0).mean() / math.log(len(seen))
        return {"prototype_entropy": float(entropy), "prototypes_dead": float((seen == 0).double().mean())}

    def state_dict(self) -> dict[str, Tensor]:
        return {} if self.counts is None else {"counts": self.counts}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.counts = state.get("counts")


def vectors_per_class(loss: torch.nn.Module) -> int:
    """K of a loss that compares samples with K vectors of each class, as ``similarities`` of its output; else 1."""
    return int(getattr(loss, "per_class", 1))
