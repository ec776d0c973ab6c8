"""Pages of the public interface in Python: directives by which mkdocstrings writes down classes and functions."""

import inspect
from types import ModuleType
from typing import Any

import metriscope
from metriscope import mixtures, weightings

# Name of the page -> the module whose public names it shows, and title.
MODULES: dict[str, tuple[ModuleType, str]] = {
    "losses": (metriscope.losses, "Losses by class"),
    "miners": (metriscope.miners, "Miners by class"),
    "weightings": (weightings, "Weightings by class"),
    "mixtures": (mixtures, "Mixtures by class"),
    "distances": (metriscope.distances, "Distances by class"),
    "metrics": (metriscope.metrics, "Metrics by class and function"),
}
# Classes of which the methods are part of the interface: those to call, and those to derive from.
WITH_METHODS = {
    "Embedder", "Objective", "Outcome", "Loss", "RowLoss", "LossOutput", "Miner", "Weighting", "Mixture", "Distance",
    "SetMetric",
}  # fmt: skip


def pages() -> dict[str, str]:
    """The pages by path in the site."""
    own = {name: getattr(metriscope, name) for name in metriscope.__all__}
    main = {name: each for name, each in own.items() if not inspect.ismodule(each) and name != "__version__"}
    listed = ", ".join(f"[`metriscope.{name}`](api_{name}.md)" for name in MODULES)
    found = {"reference/api.md": _page("Python", f"The names of `metriscope`. Further modules: {listed}.", main)}
    for name, (module, title) in MODULES.items():
        members = {member: getattr(module, member) for member in module.__all__}
        found[f"reference/api_{name}.md"] = _page(title, f"The names of `metriscope.{name}`.", members)
    return found


def _page(title: str, about: str, members: dict[str, Any]) -> str:
    lines = [f"# {title}", "", about, ""]
    for name, member in members.items():
        lines += [f"::: {member.__module__}.{member.__qualname__}", "    options:", f"      heading: {name}"]
        if inspect.isclass(member) and name not in WITH_METHODS:
            lines += ["      members: false"]
        lines += [""]
    return "\n".join(lines)
