"""Configs of data, and a training that notes the batches it is shown."""

from pathlib import Path

import pytorch_lightning as pl
import torch
from omegaconf import OmegaConf

CONFIGS = Path(__file__).parents[2] / "configs"


def config(dataset, augmentation="none", sampler="class_balanced", **changes):
    cfg = OmegaConf.create({"seed": 0, "paths": {"cache_dir": "cache"}, "evaluation": {"batch_size": 256}})
    cfg.sampler = OmegaConf.load(CONFIGS / "sampler" / f"{sampler}.yaml")
    cfg.augmentation = OmegaConf.load(CONFIGS / "augmentation" / f"{augmentation}.yaml")
    chosen = OmegaConf.load(CONFIGS / "dataset" / f"{dataset}.yaml")
    chosen.pop("defaults")
    cfg = OmegaConf.merge(cfg, chosen)
    for key, value in changes.items():
        OmegaConf.update(cfg, key.replace("__", "."), value, force_add=True)
    return cfg


class Recorder(pl.LightningModule):
    """Notes the batches it is shown."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen = {"train": [], "val": []}

    def note(self, stage, batch):
        self.seen[stage].append((self.current_epoch, batch[2].tolist(), batch[0].clone()))
        return self.weight * batch[0].mean()

    def training_step(self, batch, _batch_index):
        return self.note("train", batch)

    def validation_step(self, batch, _batch_index):
        self.note("val", batch)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def trainer(tmp_path, **options):
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    options = {"enable_checkpointing": False, "callbacks": None, **options}
    return pl.Trainer(accelerator="cpu", default_root_dir=tmp_path, use_distributed_sampler=False, **quiet, **options)
