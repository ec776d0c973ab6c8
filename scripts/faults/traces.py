"""What a run leaves, and where two runs differ in it, bit by bit; only times may differ."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

Traces = dict[str, Any]


def traces(folder: Path) -> Traces:
    """The content of the files of a finished run, by their names; None where a file is missing."""
    readers = {
        "checkpoints/last.ckpt": _checkpoint,
        "checkpoints/best.ckpt": _checkpoint,
        "metrics.csv": lambda path: path.read_bytes().splitlines(),
        "per_class.csv": lambda path: path.read_bytes().splitlines(),
        "config.yaml": Path.read_bytes,
        "summary.json": _without_times,
        "embeddings.npz": lambda path: dict(np.load(path)),
    }
    return {name: read(folder / name) if (folder / name).exists() else None for name, read in readers.items()}


def _checkpoint(path: Path) -> Any:
    return torch.load(path, weights_only=True)


def _without_times(path: Path) -> dict[str, Any]:
    return {key: value for key, value in json.loads(path.read_bytes()).items() if "seconds" not in key}


# The score that the best checkpoint was compared with last: Lightning saves it, but neither restores nor reads it.
_UNUSED = "current_score"


def differences(one: Any, other: Any, place: str = "") -> Iterator[str]:
    """The places at which two contents differ, in type, shape or any bit."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in [*one, *(key for key in other if key not in one)]:
            if key == _UNUSED:
                continue
            here = f"{place}.{key}" if place else str(key)
            if key in one and key in other:
                yield from differences(one[key], other[key], here)
            else:
                yield f"{here} ({'missing' if key in one else 'added'})"
    elif isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        for number, (mine, theirs) in enumerate(zip(one, other, strict=True)):
            yield from differences(mine, theirs, f"{place}[{number}]")
    elif type(one) is not type(other) or not _equal(one, other):
        yield place


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        if one.dtype != other.dtype:
            return False
        one, other = one.numpy(), other.numpy()
    if isinstance(one, np.ndarray):
        return one.shape == other.shape and one.dtype == other.dtype and one.tobytes() == other.tobytes()
    if isinstance(one, float):  # also NaN, and the sign of zero
        return one.hex() == other.hex()
    return bool(one == other)
