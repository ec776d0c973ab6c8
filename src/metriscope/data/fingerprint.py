"""Fingerprint of a data set: a small JSON value that shows whether a run gets the same data as before."""

import hashlib
import os
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any

from torch import Tensor

from metriscope.data.examples import Examples
from metriscope.data.inputs.caches import digest_of_tensor
from metriscope.data.inputs.images import ImageFiles
from metriscope.data.inputs.paired import PairedVectors
from metriscope.data.label_noise import LabelNoise
from metriscope.errors import InputError

# Message for each entry of the content that differs; the first difference causes the later ones.
_SAID = {
    "files": "file names differ",
    "labels": "labels differ",
    "boxes": "boxes differ",
    "superclasses": "superclasses differ",
    "queries": "queries differ",
    "sizes": "files differ in size",
    "values": "values differ",
    "label_noise": "wrong labels differ",
    "order": "their order or their parts differ",
}


def fingerprint(
    parts: Mapping[str, Examples], queries: Tensor | None = None, noise: LabelNoise | None = None
) -> dict[str, Any]:
    """Fingerprint of the content and of the modification times of the parts of a data set, as plain values.

    Image files are not opened: the fingerprint covers their paths (relative to their common folder), boxes, labels,
    sizes and times. For arrays it covers every byte.

    Args:
        parts: examples by the name of their part.
        queries: bool mask of the test examples that are queries; None for all.
        noise: wrong labels to train on; None for none.

    Returns:
        ``content``, which differs between different data sets, and ``times``, which may differ for the same images,
        for example after copying; ``times`` is None without image files.

    Raises:
        InputError: a file is missing.
    """
    classes = {name for part in parts.values() for name in part.classes}
    content: dict[str, Any] = {
        "examples": sum(map(len, parts.values())),
        "classes": len(classes),
        "parts": {name: [len(part), part.num_classes] for name, part in parts.items()},
    }
    times = None
    files = {name: part.inputs for name, part in parts.items() if isinstance(part.inputs, ImageFiles)}
    if len(files) == len(parts):
        facts, times = _of_files(parts, files)
        content |= facts
    else:
        content["labels"] = _digest(chain.from_iterable((name, *_names(part)) for name, part in parts.items()))
        content["values"] = [digest_of_tensor(x) for part in parts.values() for x in _arrays(part.inputs)]
    if any(part.superclasses is not None for part in parts.values()):
        content["superclasses"] = _digest(chain.from_iterable(_above(parts)))
    if queries is not None:
        content["queries"] = digest_of_tensor(queries)
    if noise is not None:
        content["label_noise"] = noise.facts
    return {"content": content, "times": times}


def _arrays(inputs: Any) -> Iterable[Tensor]:
    """The arrays that inputs in memory are made of."""
    if isinstance(inputs, PairedVectors):
        return inputs.first, inputs.second
    return (inputs,) if isinstance(inputs, Tensor) else ()


def difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """Description of the first difference in the content of two fingerprints; None if they are equal."""
    before, now = before.get("content") or {}, now["content"]
    if before == now:
        return None
    noun = "images" if "files" in now else "examples"
    total = ("examples", "classes")
    if any(before.get(key) != now[key] for key in total):
        return f"{_count(noun, *(now[key] for key in total))}, were {_count('', *(before.get(key) for key in total))}"
    said = (words for key, words in _SAID.items() if before.get(key) != now.get(key))
    return next(said, _SAID["order"])


def check_same(before: Mapping[str, Any], now: Mapping[str, Any], folder: os.PathLike[str]) -> None:
    """Refuse data that differ from those of the run in ``folder``.

    Raises:
        InputError: the data differ; the message says how.
    """
    if changed := difference(before, now):
        raise InputError(
            f"the data are not those of {folder} ({changed}): restore them, or set resume=never to run afresh"
        )


def relative_names(paths: Iterable[str]) -> dict[str, str]:
    """The name of each file relative to the common folder of all."""
    absolute = {path: os.path.abspath(path) for path in paths}
    root = os.path.commonpath(set(map(os.path.dirname, absolute.values()))) if absolute else ""
    start = len(os.path.join(root, ""))
    return {path: name[start:] for path, name in absolute.items()}


def _of_files(parts: Mapping[str, Examples], files: Mapping[str, ImageFiles]) -> tuple[dict[str, str], str]:
    relative = relative_names(chain.from_iterable(part.paths for part in files.values()))
    # Sorted by path, so that another split of the same images changes only "parts" and "order".
    labels = sorted(chain.from_iterable(zip(files[part].paths, _names(parts[part]), strict=True) for part in parts))
    found = [_stat(path) for path, _ in labels]
    facts = {
        "files": _digest(relative[path] for path, _ in labels),
        "labels": _digest(name for _, name in labels),
        "sizes": _digest(str(one.st_size) for one in found),
        "order": _digest(chain.from_iterable((name, *_said(part, relative)) for name, part in files.items())),
    }
    if any(part.boxes for part in files.values()):
        said = (zip(_said(files[part], relative), _names(parts[part]), strict=True) for part in parts)
        facts["boxes"] = _digest(chain.from_iterable(sorted(chain.from_iterable(said))))
    return facts, _digest(str(one.st_mtime_ns) for one in found)


def _said(files: ImageFiles, relative: Mapping[str, str]) -> list[str]:
    """The name of every file, with the box that is read of it."""
    return [f"{relative[path]} {tuple(box)}" if box else relative[path] for path, box in files.items]


def _names(part: Examples) -> list[str]:
    """The class name of every example."""
    return [part.classes[label] for label in part.labels.tolist()]


def _above(parts: Mapping[str, Examples]) -> list[tuple[str, str]]:
    """Every class with its superclass."""
    return sorted({pair for part in parts.values() for pair in zip(part.classes, part.superclasses or (), strict=True)})


def _stat(path: str) -> os.stat_result:
    try:
        return os.stat(path)
    except OSError as error:
        raise InputError(f"cannot read the image {path}: {error.strerror}") from error


def _count(noun: str, examples: Any, classes: Any) -> str:
    return f"{examples} {noun} of {classes} classes" if noun else f"{examples} of {classes}"


def _digest(words: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(words).encode("utf-8", "surrogateescape")).hexdigest()[:32]
