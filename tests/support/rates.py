"""Configs of optimisers and schedules, and the learning rates of a training with them."""

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

CONFIGS = Path(__file__).parents[2] / "configs"


def config(group: str, name: str, /, **changes: Any) -> Any:
    return OmegaConf.merge(OmegaConf.load(CONFIGS / group / f"{name}.yaml"), changes)


def curve(entry: dict[str, Any], steps: int, metric: list[float] | None = None) -> list[float]:
    scheduler = entry["scheduler"]
    rates = []
    for step in range(steps):
        rates.append(scheduler.optimizer.param_groups[0]["lr"])
        scheduler.optimizer.step()
        scheduler.step(*([metric[step]] if metric else []))
    return rates
