"""Metriscope: put a loss under the microscope and see what it does to the embedding space.

>>> from metriscope import compose_config, train
>>> outcome = train(compose_config(["dataset=digits", "trainer.max_epochs=1", "logger=none"]))
>>> outcome.metrics["test/recall_at_1"] > 0.5
True

Names are imported when they are first used: ``import metriscope`` takes no time.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metriscope import distances, losses, metrics, miners
    from metriscope.app import train
    from metriscope.config.compose import compose_config
    from metriscope.errors import InputError, Pruned, RunError
    from metriscope.objectives.objective import Objective
    from metriscope.outcome import Outcome
    from metriscope.run.study import load_study
    from metriscope.serving.embedder import Embedder, load

    __version__: str

__all__ = [
    "Embedder",
    "InputError",
    "Objective",
    "Outcome",
    "Pruned",
    "RunError",
    "__version__",
    "compose_config",
    "distances",
    "load",
    "load_study",
    "losses",
    "metrics",
    "miners",
    "train",
]

_MODULES = {
    "Embedder": "serving.embedder",
    "InputError": "errors",
    "Objective": "objectives.objective",
    "Outcome": "outcome",
    "Pruned": "errors",
    "RunError": "errors",
    "compose_config": "config.compose",
    "load": "serving.embedder",
    "load_study": "run.study",
    "train": "app",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("metriscope")
    if name in ("distances", "losses", "metrics", "miners"):
        return import_module(f"metriscope.{name}")
    if name not in _MODULES:
        raise AttributeError(f"module 'metriscope' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(f"metriscope.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
