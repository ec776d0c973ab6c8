"""The words in which run folders of format 2 hash a config: later keys are said by those that they replaced."""

from collections.abc import Mapping
from typing import Any

_METRICS, _DIAGNOSTICS = "evaluation.metrics.", "diagnostics."
_CLASSES = {
    "recall_at": "RecallAt",
    "precision_at": "PrecisionAt",
    "mrr": "MRR",
    "r_precision": "RPrecision",
    "map_at_r": "MAPAtR",
    "queries_skipped": "QueriesSkipped",
    "knn_accuracy": "KNNAccuracy",
    "linear_probe_accuracy": "LinearProbeAccuracy",
    "clustering": "Clustering",
}
# Metric -> the key that held an argument of it, and there was no way to leave it out.
_VALUES = {
    "recall_at": "evaluation.recall_at",
    "precision_at": "evaluation.precision_at",
    "knn_accuracy": "evaluation.knn_k",
}
# Metric -> the key that switched it.
_SWITCHES = {
    "mrr": "evaluation.mrr",
    "linear_probe_accuracy": "evaluation.linear_probe",
    "clustering": "evaluation.clustering",
}
# Arguments that there were none of, with the values that all runs had.
_ADDED: dict[str, dict[str, Any]] = {
    "linear_probe_accuracy": {"inverse_penalty": 1.0, "max_iterations": 200},
    "clustering": {"seed": 0},
}
_THRESHOLD = 1e-3
_MONITORS = {"greediness": "GreedinessMonitor", "variance": "VarianceMonitor"}


def of_format_2(flat: Mapping[str, Any]) -> dict[str, Any]:
    """A flat config in the words of format 2; one that is in these words already stays as it is."""
    found = dict(flat)
    if _is_later(flat, _METRICS, _CLASSES) and "evaluation.recall_at" not in flat:
        found = _with_metrics(found)
    if _is_later(flat, _DIAGNOSTICS, _MONITORS) and "diagnostics.pair_weight_threshold" not in flat:
        found = _with_diagnostics(found)
    return found


def _is_later(flat: Mapping[str, Any], group: str, names: Mapping[str, str]) -> bool:
    return any(key.startswith(group) and key[len(group) :].split(".")[0] in names for key in flat)


def _with_metrics(flat: dict[str, Any]) -> dict[str, Any]:
    found, sections = _split(flat, _METRICS)
    for name, name_of_class in _CLASSES.items():
        section = sections.pop(name, None)
        arguments = _shipped(section, name_of_class)
        if section is not None and arguments is None:
            sections[name] = section  # a class of one's own has taken the name
        value, switch = _VALUES.get(name), _SWITCHES.get(name)
        if switch:
            found[switch] = arguments is not None
        elif value and arguments is not None and "k" in arguments:
            found[value] = arguments.pop("k")
        elif not value and arguments is None:
            found[f"{_METRICS}{name}"] = False
        further = {key: own for key, own in (arguments or {}).items() if own != _ADDED.get(name, {}).get(key)}
        found.update({f"{_METRICS}{name}.{key}": own for key, own in further.items()})
    return found | _own(sections, _METRICS)


def _with_diagnostics(flat: dict[str, Any]) -> dict[str, Any]:
    found, sections = _split(flat, _DIAGNOSTICS)
    found["diagnostics.name"] = sections.pop("name", {}).get("")
    for name, name_of_class in _MONITORS.items():
        section = sections.pop(name, None)
        arguments = _shipped(section, name_of_class)
        if section is not None and arguments is None:
            sections[name] = section
        found[f"{_DIAGNOSTICS}{name}"] = arguments is not None
        arguments = arguments or {}
        if name == "greediness":
            found["diagnostics.pair_weight_threshold"] = arguments.pop("pair_weight_threshold", _THRESHOLD)
        # Switches that came later are off in runs that know nothing of them.
        found.update({f"{_DIAGNOSTICS}{name}.{key}": own for key, own in arguments.items() if own is not False})
    return found | _own(sections, f"{_DIAGNOSTICS}own.")


def _split(flat: Mapping[str, Any], group: str) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The keys outside of a group, and the sections of the group by name; without those that are switched off."""
    others = {key: value for key, value in flat.items() if not key.startswith(group)}
    sections: dict[str, dict[str, Any]] = {}
    for key, value in flat.items():
        name, _, argument = key[len(group) :].partition(".")
        if key.startswith(group) and (argument or value not in (None, False, {})):
            sections.setdefault(name, {})[argument] = value
    return others, sections


def _shipped(section: Mapping[str, Any] | None, name_of_class: str) -> dict[str, Any] | None:
    """The arguments of a class that ships; None where there is no such class."""
    if section is None or section.get("") is True:
        return None if section is None else {}
    target = str(section.get("_target_"))
    if not target.startswith("metriscope.") or target.rpartition(".")[2] != name_of_class:
        return None
    return {key: value for key, value in section.items() if key != "_target_"}


def _own(sections: Mapping[str, Mapping[str, Any]], group: str) -> dict[str, Any]:
    found = {}
    for name, section in sections.items():
        for key, value in section.items():
            # The name of a shipped class is all that tells it from another; where it lies may change.
            said = value.rpartition(".")[2] if key == "_target_" and str(value).startswith("metriscope.") else value
            found[f"{group}{name}.{key}" if key else f"{group}{name}"] = said
    return found
