"""The callback that finds the nearest classes of each class, for a sampler that draws by them."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.apply_func import move_data_to_device
from torch import Tensor, nn

from metriscope.data.similar_classes import SimilarClassesBatchSampler, nearest_classes

log = logging.getLogger(__name__)


class ClassNeighbors(pl.Callback):
    """Gives the sampler ``similar_classes`` its table before an epoch that is due for one, and keeps it.

    The training part is embedded as evaluation sees it, in one pass that the processes divide; sums of classes in
    float64 are added up over them, and all use the table of the first. So the pass costs as much as one validation on
    the training part, no more than the head where features of a frozen trunk are kept, and O(C D) of memory. The table
    is in the checkpoint: a run that resumes within an epoch goes on with the batches of this epoch.
    """

    def __init__(self) -> None:
        self.table: Tensor | None = None
        self.data = ""
        self._loader: Any = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Lightning does not call the hook below for an epoch that is resumed half-way.
        self._loader = None
        if self.table is not None:
            _sampler(trainer).use(self.table, self.data)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        sampler = _sampler(trainer)
        if not sampler.due(trainer.current_epoch):
            return
        began = time.monotonic()
        table = nearest_classes(self._sums(trainer, pl_module, sampler), sampler.neighbors)
        self.table, self.data = trainer.strategy.broadcast(table), sampler.data
        sampler.use(self.table, self.data)
        log.debug("epoch %s: nearest classes found in %.1f s", trainer.current_epoch, time.monotonic() - began)

    def _sums(self, trainer: Any, pl_module: Any, sampler: SimilarClassesBatchSampler) -> Tensor:
        """The sum of the embeddings of each class, float64 (C, D) on the CPU."""
        loader = self._loader or trainer.datamodule.train_eval_dataloader()
        # Workers would wait beside those of the training until the next pass.
        self._loader = None if loader.num_workers else loader
        classes, number = sampler.classes, int(sampler.classes.max()) + 1
        sums: Tensor | None = None
        with torch.no_grad(), _in_evaluation(pl_module):
            for batch in loader:
                inputs, _, index = trainer.datamodule.evaluated(move_data_to_device(batch, pl_module.device))
                with trainer.precision_plugin.forward_context():
                    z = pl_module.embedder(inputs).z
                z = z.cpu().double()
                sums = z.new_zeros(number, z.shape[1]) if sums is None else sums
                # The second row of pair p of N stands at N + p.
                sums.index_add_(0, classes[index.cpu() % len(classes)], z)
        assert sums is not None
        if trainer.world_size == 1:
            return sums
        whole: Tensor = trainer.strategy.reduce(sums.to(pl_module.device), reduce_op="sum")
        return whole.cpu()

    def state_dict(self) -> dict[str, Any]:
        return {} if self.table is None else {"table": self.table, "data": self.data}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.table, self.data = state_dict.get("table"), state_dict.get("data", "")


def _sampler(trainer: Any) -> SimilarClassesBatchSampler:
    sampler: SimilarClassesBatchSampler = trainer.datamodule.train_batch_sampler
    return sampler


@contextmanager
def _in_evaluation(module: nn.Module) -> Iterator[None]:
    """Every layer in eval mode, and then as it was."""
    before = [(layer, layer.training) for layer in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for layer, training in before:
            layer.training = training
