"""Builds the objective of a run from sections of its config: distance, miner, loss and memory."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from metriscope import seeds
from metriscope.objectives.losses.base import Loss
from metriscope.objectives.losses.weighted_sum import SumLoss
from metriscope.objectives.objective import Objective
from metriscope.parts import instantiate, locate

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
        module = _sum(loss["losses"], sizes) if loss["name"] == "sum" else _loss(loss, "loss", sizes)
    stored = instantiate(memory, "memory", embedding_size=embedding_size) if memory["size"] else None
    return Objective(instantiate(distance, "distance"), instantiate(miner, "miner"), module, stored)


def _sum(parts: Sequence[Section], sizes: Mapping[str, int]) -> SumLoss:
    weights = [float(part.get("weight", 1.0)) for part in parts]
    losses = [{key: value for key, value in part.items() if key != "weight"} for part in parts]
    return SumLoss([_loss(loss, f"loss.losses[{place}]", sizes) for place, loss in enumerate(losses)], weights)


def _loss(section: Section, where: str, sizes: Mapping[str, int]) -> Loss:
    takes_sizes = locate(section["_target_"], f"{where}.").takes_sizes
    loss: Loss = instantiate(section, where, **(sizes if takes_sizes else {}))
    return loss
