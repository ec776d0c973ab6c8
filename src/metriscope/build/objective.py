"""Builds the objective of a run from sections of its config: distance, miner, loss, and what may be beside them."""

import json
from collections.abc import Mapping
from typing import Any

import torch

from metriscope import seeds
from metriscope.config.entries import Entry, entries, is_sum
from metriscope.config.sections import sizes_for
from metriscope.evaluation.search.curved import Curved
from metriscope.objectives.objective import Objective
from metriscope.objectives.objectives import Objectives
from metriscope.parts import instantiate

Section = Mapping[str, Any]


def build_objective(
    sections: Mapping[str, Section],
    *,
    num_classes: int,
    sizes: Mapping[str, int],
    num_samples: int,
    seed: int,
    memory_mb: float | None = None,
) -> Objective | Objectives:
    """The objective of a run, or a sum of several.

    Initial values are a function of the seed; the global generator stays unchanged. Parts that several objectives of
    one space have in common are one module.

    Args:
        sections: ``loss``, ``miner``, ``distance``, ``memory``; the others may be missing.
        num_classes: C, of the training set.
        sizes: D of each space, such as ``embedding``.
        num_samples: N, of the training set.
        seed: the run's seed.
        memory_mb: bound on the matrices of pairs that a loss holds at once, in MiB; None for what suits the device.

    Raises:
        InputError: a part refuses its arguments.
    """
    known = {"num_classes": num_classes, "num_samples": num_samples}
    shared: dict[str, Any] = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeds.derive(seed, "loss parameters"))
        every = [_objective(entry, sections, known, sizes, shared, memory_mb) for entry in entries(sections)]
    if not is_sum(sections["loss"]):
        return every[0]
    return Objectives(every, [entry.weight for entry in entries(sections)])


def ranking_space(sections: Mapping[str, Section]) -> Curved | None:
    """The space in which a run with these sections ranks embeddings; None for a Euclidean one."""
    own = [entry for entry in entries(sections) if entry.space == "embedding"]
    space: Curved | None = instantiate(own[0].distance, own[0].key_of("distance")).space if own else None
    return space


def _objective(
    entry: Entry,
    sections: Mapping[str, Section],
    known: Mapping[str, int],
    spaces: Mapping[str, int],
    shared: dict[str, Any],
    memory_mb: float | None,
) -> Objective:
    sizes = {**known, "embedding_size": spaces[entry.space]}
    affinity: str | None = None

    def one(section: Section, where: str, **further: Any) -> Any:
        """A part, which is one module for all objectives of a space that describe it alike."""
        # The state of a part, such as the samples that a memory holds, means nothing in another space.
        key = json.dumps([entry.space, affinity, section, further], sort_keys=True)
        if key not in shared:
            shared[key] = instantiate(section, where, **further)
        return shared[key]

    loss = instantiate(entry.loss, entry.where, **sizes_for(entry.loss, sizes))
    groups = ("memory", "references", "weighting", "mixture")
    memory, further, weighting, mixture = (sections.get(group) or {} for group in groups)
    weigh = instantiate(weighting, "weighting", **sizes_for(weighting, sizes)) if "_target_" in weighting else None
    mixes = instantiate(mixture, "mixture", **sizes_for(mixture, sizes)) if "_target_" in mixture else None
    distance, miner = (one(getattr(entry, part), entry.key_of(part)) for part in ("distance", "miner"))
    objective = Objective(distance, miner, loss, (), weigh, entry.space, memory_mb, mixes, entry.pairs_across)
    affinity = objective.affinity
    if affinity:
        sizes["affinity_size"] = spaces[affinity]
    if memory.get("size"):
        # A key only where it is needed: a memory of one's own need not take it.
        kept = {"sides": True} if entry.pairs_across else {}
        objective.references.append(one(memory, "memory", **sizes_for(memory, sizes), **kept))
    if "_target_" in further:
        objective.references.append(one(further, "references", **sizes_for(further, sizes)))
    return objective
