"""The format of checkpoints: a number, and how the state of earlier formats reads in the names of today."""

import re
from collections.abc import Mapping
from typing import Any

import torch

from metriscope.errors import InputError

FORMAT = 1
"""Counts up when a key of a module changes its name; checkpoints without a number are of format 0."""

_KEY = "metriscope"
# Format -> (pattern of a key, its name in the next format).
_RENAMED = {
    0: [
        (r"objective\.memory\.", "objective.references.0."),
        (r"objective\.loss\.losses\.(\d+)\.", r"objective.objectives.\1.loss."),
    ],
}


def mark(checkpoint: dict[str, Any], stopped: bool = False) -> None:
    """Write into a checkpoint its format, and whether a callback has asked the training to stop early."""
    checkpoint[_KEY] = {"format": FORMAT} | ({"stopped": True} if stopped else {})


def was_stopped(checkpoint: Mapping[str, Any]) -> bool:
    """Whether a callback had asked the training to stop early."""
    return bool((checkpoint.get(_KEY) or {}).get("stopped", False))


def upgrade(checkpoint: dict[str, Any], wanted: Mapping[str, torch.Tensor]) -> None:
    """Rename, in place, the weights of an earlier format.

    Args:
        checkpoint: with ``state_dict``.
        wanted: the state of the module that it is for.

    Raises:
        InputError: a later format, which this version cannot read.
    """
    found = (checkpoint.get(_KEY) or {}).get("format", 0)
    if found > FORMAT:
        raise InputError(f"the checkpoint has format {found}, and this version reads up to {FORMAT}: update metriscope")
    state = checkpoint["state_dict"]
    for number in range(found, FORMAT):
        for pattern, name in _RENAMED[number]:
            state = {re.sub(f"^{pattern}", name, key): value for key, value in state.items()}
    if found == 0:
        state = _with_index(state, wanted)
    checkpoint["state_dict"] = state


def _with_index(state: dict[str, Any], wanted: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """Format 0 had one memory for all losses of a sum, and no index of its samples."""
    found = dict(state)
    for key, value in wanted.items():
        if key in found or ".references.0." not in key:
            continue
        name = key.rpartition(".")[2]
        if name == "index":
            found[key] = torch.full_like(value, -1)
        elif f"objective.references.0.{name}" in state:
            found[key] = state[f"objective.references.0.{name}"]
    return {key: value for key, value in found.items() if key in wanted or ".references.0." not in key}
