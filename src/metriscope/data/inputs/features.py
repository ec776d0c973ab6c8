"""Features of a frozen trunk, computed once and cached on disk."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from metriscope.data.inputs.caches import ArrayFile, Draft
from metriscope.models.network import Features
from metriscope.models.trunk import Trunk

log = logging.getLogger(__name__)

_SECONDS_BETWEEN_LINES = 30


@dataclass(frozen=True, eq=False)
class KeptFeatures:
    """Cached features of examples in place of their images.

    Attributes:
        values: float32 (M, F), mapped from disk.
        rows: int64 (N,), positions of the examples in ``values``.
    """

    values: Tensor
    rows: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.values.shape[1:])

    def take(self, indices: Tensor) -> "KeptFeatures":
        return KeptFeatures(self.values, self.rows[indices])

    def fetch(self, indices: Tensor) -> Features:
        return Features(self.values.index_select(0, self.rows[indices]))


@dataclass(frozen=True, eq=False)
class ViewsInTurn:
    """Features of several augmented views of the same examples; ``current`` returns the views to use."""

    views: Sequence[KeptFeatures]
    current: Callable[[], Sequence[int]]

    def __len__(self) -> int:
        return len(self.views[0])

    @property
    def shape(self) -> tuple[int, ...]:
        return self.views[0].shape

    def take(self, indices: Tensor) -> "ViewsInTurn":
        return ViewsInTurn([view.take(indices) for view in self.views], self.current)

    def fetch(self, indices: Tensor) -> Features:
        """Features (B V, F) of B examples in V views, those of one example in a row."""
        found = [self.views[view].fetch(indices).values for view in self.current()]
        return Features(found[0] if len(found) == 1 else torch.stack(found, 1).flatten(0, 1))


class EmbedOnce:
    """Computes and caches features of a run's frozen trunk for inputs that do not change.

    Args:
        folder: folder of the cached features.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._fingerprint: str | None = None

    def open(self, trainer: pl.Trainer, data: Mapping[str, Any], count: int, batches: Iterable[Tensor]) -> Tensor:
        """Features float32 (N, F), in the order of the batches.

        The cache key consists of the trunk's fingerprint, its precision, and ``data``.

        Args:
            trainer: trainer of the module, on its device.
            data: facts that determine the content of the batches.
            count: N, the number of examples in the batches.
            batches: inputs of the trunk; not read if the features are cached.

        Raises:
            InputError: the folder cannot be written.
        """
        module: Any = trainer.lightning_module
        trunk: Trunk = module.embedder.trunk
        if self._fingerprint is None:  # computed once, since frozen weights do not change
            self._fingerprint = trunk.fingerprint()
        facts = {**data, "trunk": self._fingerprint, "precision": [str(trainer.precision), trunk.precision]}
        remedy = "make room, or set paths.cache_dir=<folder> or backbone.cache_features=false"
        cache = ArrayFile(self.folder, facts, remedy)

        def fill(draft: Draft) -> None:
            done, said = 0, time.monotonic()
            for batch in batches:
                with torch.no_grad(), trainer.precision_plugin.forward_context():
                    features = trunk(trainer.precision_plugin.convert_input(batch))
                draft.write(done, features.float())
                done += len(batch)
                if time.monotonic() - said > _SECONDS_BETWEEN_LINES:
                    said = time.monotonic()
                    log.info("features of the frozen trunk: %s of %s", done, count)

        kept, _ = cache.get("features of the frozen trunk", (count, trunk.out_features), torch.float32, fill)
        return kept
