"""From a composed config to the objective of a run."""

from typing import Any

import torch
from hydra.errors import InstantiationException
from hydra.utils import get_class, instantiate
from omegaconf import DictConfig, OmegaConf

from metriscope import seeds
from metriscope.config.files import section
from metriscope.config.plain import plain
from metriscope.errors import InputError
from metriscope.objectives.losses.base import Loss
from metriscope.objectives.losses.weighted_sum import SumLoss
from metriscope.objectives.objective import Objective
from metriscope.objectives.references.memory import CrossBatchMemory


def _part(section: DictConfig, **further: Any) -> Any:
    """The object that a section with a ``_target_`` describes; ``name`` is the choice, not an argument."""
    arguments = plain(section)
    arguments.pop("name", None)
    try:
        return instantiate(arguments, **further)
    except InstantiationException as error:
        # Hydra wraps what a constructor raises, however plainly it was said.
        if isinstance(error.__cause__, InputError):
            raise error.__cause__ from error
        raise


def _loss(node: Any, num_classes: int, embedding_size: int) -> Loss:
    loss_class: Any = get_class(node._target_)
    sizes = {"num_classes": num_classes, "embedding_size": embedding_size} if loss_class.takes_sizes else {}
    loss: Loss = _part(node, **sizes)
    return loss


def build_objective(cfg: DictConfig, num_classes: int, embedding_size: int) -> Objective:
    """Distance, miner, loss and memory of ``cfg``, for C training classes and embeddings of size D."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeds.derive(cfg.seed, "loss parameters"))
        if cfg.loss.name == "sum":
            parts: list[Any] = [OmegaConf.merge(section("loss", part.name), part) for part in cfg.loss.losses]
            weights = [float(part.pop("weight", 1.0)) for part in parts]
            loss: Loss = SumLoss([_loss(part, num_classes, embedding_size) for part in parts], weights)
        else:
            loss = _loss(cfg.loss, num_classes, embedding_size)
    memory = CrossBatchMemory(cfg.memory.size, embedding_size, cfg.memory.warmup_steps) if cfg.memory.size else None
    return Objective(_part(cfg.distance), _part(cfg.miner), loss, memory)
