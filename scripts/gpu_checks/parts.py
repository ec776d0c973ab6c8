"""Objectives of shipped parts, with the values of their files, and batches for them."""

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metriscope.build.objective import build_objective
from metriscope.config.files import section
from metriscope.config.objective import fitting_miners, shipped
from metriscope.objectives.samples import Moment, Spaces

SIZE, FEATURES, CLASSES = 64, 32, 40


@cache
def read(group: str, name: str) -> dict[str, Any]:
    """The section of a part; keys that follow another section are left to the default of the class."""
    found = section(group, name)
    return {key: found[key] for key in found if "${" not in str(found._get_node(key)._value())}


def combinations() -> list[tuple[str, str]]:
    """Every loss with its first miner, and every miner with the first loss that takes it."""
    losses = shipped("loss")
    pairs = {(name, (fitting_miners(part.accepts) or ["all"])[0]): None for name, part in losses.items()}
    for name, miner in shipped("miner").items():
        first = next(loss for loss in ("triplet", *losses) if miner.kind in losses[loss].accepts)
        pairs[first, name] = None
    return list(pairs)


def objective(loss: str, miner: str) -> nn.Module:
    """In training mode, on the CPU."""
    sections = {"loss": read("loss", loss), "miner": read("miner", miner), "distance": read("distance", "euclidean")}
    sections["memory"] = {}
    sizes = {"embedding": SIZE, "trunk": FEATURES}
    return build_objective(sections, num_classes=CLASSES, sizes=sizes, num_samples=10**5, seed=0)


def batch(count: int, size: int = SIZE, per_class: int = 4, classes: int = CLASSES) -> tuple[Tensor, Tensor]:
    """Unit embeddings (B, D) float64 on the CPU, which are near to those of their class, and labels (B,)."""
    source = torch.Generator().manual_seed(0)
    labels = torch.arange(count) // per_class % max(2, min(classes, count // per_class))
    centres = torch.randn(int(labels.max()) + 1, size, generator=source, dtype=torch.float64)
    noise = torch.randn(count, size, generator=source, dtype=torch.float64)
    return F.normalize(centres[labels] + noise, dim=1), labels


def judged(built: nn.Module, z: Tensor, labels: Tensor, index: Tensor, features: Tensor) -> Tensor:
    """The value of a training step."""
    moment = Moment(1, 9, 0.5, torch.Generator().manual_seed(0))
    value: Tensor = built(Spaces.of(z, labels, index, trunk=features), moment).output.value
    return value
