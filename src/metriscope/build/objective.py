"""Builds the objective of a run from sections of its config: distance, miner, loss and memory."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from hydra.errors import InstantiationException
from hydra.utils import get_class, instantiate

from metriscope import seeds
from metriscope.config.files import section
from metriscope.config.plain import plain
from metriscope.errors import InputError
from metriscope.objectives.losses.base import Loss
from metriscope.objectives.losses.weighted_sum import SumLoss
from metriscope.objectives.objective import Objective
from metriscope.objectives.references.memory import CrossBatchMemory

Section = Mapping[str, Any]


def build_objective(
    distance: Section,
    miner: Section,
    loss: Section,
    memory: Section,
    *,
    num_classes: int,
    embedding_size: int,
    seed: int,
) -> Objective:
    """Distance, miner, loss and memory, for C training classes and embeddings of size D.

    Initial values are a function of the seed; the global generator stays unchanged.

    Raises:
        InputError: a part refuses its arguments.
    """
    sizes = {"num_classes": num_classes, "embedding_size": embedding_size}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeds.derive(seed, "loss parameters"))
        module = _sum(loss["losses"], sizes) if loss["name"] == "sum" else _loss(loss, sizes)
    stored = CrossBatchMemory(memory["size"], embedding_size, memory["warmup_steps"]) if memory["size"] else None
    return Objective(_part(distance), _part(miner), module, stored)


def _sum(parts: Sequence[Section], sizes: Mapping[str, int]) -> SumLoss:
    whole = [{**plain(section("loss", part["name"])), **part} for part in parts]
    weights = [float(part.pop("weight", 1.0)) for part in whole]
    return SumLoss([_loss(part, sizes) for part in whole], weights)


def _loss(section: Section, sizes: Mapping[str, int]) -> Loss:
    loss_class: Any = get_class(section["_target_"])
    loss: Loss = _part(section, **(sizes if loss_class.takes_sizes else {}))
    return loss


def _part(section: Section, **further: Any) -> Any:
    """The object described by a section with a ``_target_``; ``name`` names the choice and is no argument."""
    arguments = {key: value for key, value in section.items() if key != "name"}
    try:
        return instantiate(arguments, **further)
    except InstantiationException as error:
        # Hydra wraps every exception of a constructor, also an InputError.
        if isinstance(error.__cause__, InputError):
            raise error.__cause__ from error
        raise
