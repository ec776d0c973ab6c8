"""Collects the embeddings of a whole evaluation set, the same for one process and for several."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from metriscope.errors import RunError


class SetCollector(Metric):
    """All samples of the updates, sorted by index; one that occurs twice (from a padded sampler) counts once."""

    full_state_update: bool | None = False
    is_differentiable: bool | None = False

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.flat: list[Tensor] | Tensor  # flattened embeddings: a rank without samples does not know D
        self.labels: list[Tensor] | Tensor
        self.index: list[Tensor] | Tensor
        for name in ("flat", "labels", "index"):
            self.add_state(name, default=[], dist_reduce_fx="cat")
        self._begin()

    def _begin(self) -> None:
        # A rank without samples still takes part in the gather, with tensors of the right types.
        nothing = torch.empty(0, dtype=torch.int64, device=self.device)
        self.flat, self.labels, self.index = [nothing.float()], [nothing], [nothing]

    def reset(self) -> None:
        """Forget all samples."""
        super().reset()
        self._begin()

    def update(self, embeddings: Tensor, labels: Tensor, index: Tensor) -> None:
        """Add a batch: embeddings (B, D), labels (B,) and index (B,), the positions in the split."""
        if embeddings.ndim != 2 or labels.shape != index.shape or len(labels) != len(embeddings):
            shapes = ", ".join(str(tuple(x.shape)) for x in (embeddings, labels, index))
            raise ValueError(f"expected embeddings (B, D), labels (B,) and index (B,), got {shapes}")
        for state, value in ((self.flat, embeddings.float()), (self.labels, labels), (self.index, index)):
            assert isinstance(state, list)
            state.append(value.detach().to(self.device).flatten())

    def compute(self) -> Any:
        """Embeddings (N, D), labels (N,) and index (N,) of all processes, sorted by index."""
        return self.gathered()

    def gathered(self) -> tuple[Tensor, Tensor, Tensor]:
        """As :meth:`compute`, for a subclass that computes more while the states of all processes are at hand.

        Raises:
            RunError: there is no sample.
        """
        index, labels, flat = (dim_zero_cat(state) for state in (self.index, self.labels, self.flat))
        if len(index) == 0:
            raise RunError("the evaluation set gave no embeddings, so there is nothing to retrieve")
        index, order = index.sort(stable=True)
        first = torch.ones_like(index, dtype=torch.bool)
        first[1:] = index[1:] != index[:-1]
        order = order[first]
        return flat.view(len(labels), -1)[order], labels[order], index[first]
