"""What a single key of the config may be. Imports no torch."""

import math
from typing import Any

from omegaconf import DictConfig, OmegaConf

from metriscope.errors import InputError, nearest

_ABOVE_0 = 1e-6
# Key -> (lowest, highest, whole number). Keys that a choice does not have are passed over, null is allowed.
RANGES: dict[str, tuple[float, float, bool]] = {
    "seed": (0, 2**63 - 1, True),
    "head.size": (1, math.inf, True),
    "head.hidden": (1, math.inf, True),
    "loss.positive_margin": (0, math.inf, False),
    "loss.scale": (_ABOVE_0, math.inf, False),
    "loss.nu": (0, math.inf, False),
    "loss.mean_weight": (0, math.inf, False),
    "loss.temperature_positive": (0, math.inf, False),
    "loss.temperature_negative": (0, math.inf, False),
    "loss.balance": (0, 1, False),
    "loss.base": (-1, 1, False),
    "loss.beta": (_ABOVE_0, math.inf, False),
    "loss.num_bins": (1, math.inf, True),
    "loss.memory_mb": (1, math.inf, False),
    "loss.temperature": (_ABOVE_0, math.inf, False),
    "loss.alpha": (_ABOVE_0, math.inf, False),
    "loss.gamma": (_ABOVE_0, math.inf, False),
    "loss.sub_centers": (1, math.inf, True),
    "loss.centers_per_class": (1, math.inf, True),
    "loss.center_weight": (0, math.inf, False),
    "loss.regularizer_weight": (0, math.inf, False),
    "loss.momentum": (0, 1, False),
    "miner.cutoff": (0, 2, False),
    "miner.nonzero_loss_cutoff": (0, 2, False),
    "miner.positive_margin": (0, math.inf, False),
    "miner.negative_margin": (0, math.inf, False),
    "miner.triplets_per_anchor": (1, math.inf, True),
    "miner.epsilon": (-2, 2, False),
    "miner.angle": (0, 89.9, False),
    "miner.max_triplets": (1, math.inf, True),
    "miner.share": (0, 1, False),
    "miner.bins": (1, 32000, True),
    "miner.positives_per_bin": (1, math.inf, True),
    "miner.negatives_per_bin": (1, math.inf, True),
    "miner.margin": (0, math.inf, False),
    "miner.epochs": (1, math.inf, True),
    "miner.semihard_share": (0, 1, False),
    "miner.interpolation": (0, 1, False),
    "memory.size": (0, math.inf, True),
    "memory.warmup_steps": (0, math.inf, True),
    "sampler.batch_size": (1, math.inf, True),
    "sampler.classes_per_batch": (1, math.inf, True),
    "sampler.samples_per_class": (1, math.inf, True),
    "augmentation.pad": (0, math.inf, True),
    "augmentation.size": (1, math.inf, True),
    "augmentation.resize": (1, math.inf, True),
    "augmentation.stored_size": (1, math.inf, True),
    "augmentation.views": (1, math.inf, True),
    "optimizer.lr": (0, math.inf, False),
    "optimizer.lr_trunk": (0, math.inf, False),
    "optimizer.lr_head": (0, math.inf, False),
    "optimizer.lr_loss": (0, math.inf, False),
    "optimizer.layer_decay": (_ABOVE_0, 1, False),
    "optimizer.weight_decay": (0, math.inf, False),
    "optimizer.momentum": (0, 1, False),
    "scheduler.warmup_epochs": (0, math.inf, False),
    "scheduler.gamma": (0, math.inf, False),
    "scheduler.factor": (0, 1, False),
    "scheduler.patience": (0, math.inf, True),
    "scheduler.step_size": (1, math.inf, True),
    "dataset.fold": (0, math.inf, True),
    "dataset.num_workers": (0, math.inf, True),
    "dataset.image_size": (1, math.inf, True),
    "dataset.memory_limit_mb": (0, math.inf, False),
    "evaluation.batch_size": (1, math.inf, True),
    "evaluation.every_n_epochs": (1, math.inf, True),
    "evaluation.memory_mb": (1, math.inf, False),
    "evaluation.knn_k": (1, math.inf, True),
    "diagnostics.pair_weight_threshold": (0, 1, False),
    "trainer.max_epochs": (1, math.inf, True),
    "trainer.log_every_n_steps": (1, math.inf, True),
    "trainer.accumulate_grad_batches": (1, math.inf, True),
    "trainer.gradient_clip_val": (0, math.inf, False),
    "sweep.trials": (1, math.inf, True),
    "sweep.seed": (0, 2**32 - 1, True),
}
# Key -> what it may be.
CHOICES: dict[str, tuple[Any, ...]] = {
    "resume": ("auto", "never", "must"),
    "backbone.pooling": ("avg", "max", "gem"),
    "loss.reduction": ("mean", "sum", "mean_active"),
    "loss.form": ("generalised", "original"),
    "loss.count": ("pairs", "triplets"),
    "loss.anchors": ("all", "first"),
    "loss.objective": ("log", "expected"),
    "miner.negative": ("hard", "semihard"),
    "miner.positive_strategy": ("all", "easy", "semihard", "hard"),
    "miner.negative_strategy": ("all", "easy", "semihard", "hard"),
    "dataset.protocol": ("closed_set", "class_disjoint"),
    "dataset.download": (True, False),
    "dataset.verify": (True, False),
    "dataset.cache": ("auto", "disk", "none"),
    "augmentation.crop": ("none", "pad", "random_resized"),
    "backbone.cache_features": ("auto", True, False),
    "backbone.precision": ("bf16",),
    "evaluation.mode": ("max", "min"),
    "scheduler.mode": ("max", "min"),
    "sweep.mode": ("max", "min"),
    "evaluation.classification": ("auto", True, False),
    "evaluation.mrr": (True, False),
    "evaluation.clustering": (True, False),
    "evaluation.per_class": (True, False),
    "trainer.accelerator": ("auto", "cpu", "gpu", "cuda", "mps", "tpu"),
    "trainer.precision": (
        "32-true", "16-mixed", "bf16-mixed", "bf16-true", "16-true", "64-true", 16, 32, 64, "16", "32", "64", "bf16",
    ),
    "logger.wandb.mode": ("auto", "online", "offline", "disabled"),
}  # fmt: skip


def check_values(cfg: DictConfig) -> None:
    """Refuse a value that no run could have, whatever its other keys.

    Raises:
        InputError: naming the key, its value, and what would do.
    """
    for key, (low, high, whole) in RANGES.items():
        value = OmegaConf.select(cfg, key)
        if value is None:
            continue
        kind = "a whole number" if whole else "a number"
        wanted = f"{kind} of at least {low:g}" + (f" and at most {high:g}" if high < 2**53 else "")
        number = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or not low <= value <= high:
            raise InputError(f"{key}={value}: it has to be {wanted}")
    for key, allowed in CHOICES.items():
        value = OmegaConf.select(cfg, key)
        if value is not None and value not in allowed:
            words = (str(choice).lower() if isinstance(choice, bool) else str(choice) for choice in allowed)
            names = ", ".join(dict.fromkeys(words))
            raise InputError(f"{key}={value}: it has to be one of {names}{nearest(str(value), map(str, allowed))}")
