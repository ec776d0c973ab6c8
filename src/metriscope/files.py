"""Atomic writes: a file holds its old content or its new content, never a part of it."""

import json
import math
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

# Earlier versions named their drafts by the number of the process.
_DRAFT = re.compile(r"\.(draft-[0-9a-f]{16}|\d+)-")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside ``path`` (same suffix) that replaces it when the block ends without an error.

    Its name cannot be foretold and it is new, so that no link that lies in the folder is written through.

    Raises:
        OSError: the folder is full or read-only; ``path`` is then unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".draft-{secrets.token_hex(8)}-{path.name}")
    draft.touch(exist_ok=False)
    try:
        yield draft
        os.replace(draft, path)
    finally:
        with suppress(OSError):
            draft.unlink()


def drafts(folder: Path) -> list[Path]:
    """Temporary files that :func:`replacing` left in ``folder`` and below because its process was killed."""
    return [path for path in folder.rglob(".*-*") if _DRAFT.match(path.name) and path.is_file()]


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write ``data`` atomically. JSON has no NaN or infinity: they become ``null``; paths become strings.

    Raises:
        OSError: the folder is full or read-only.
        TypeError: a value other than plain JSON values, paths, and scalars of NumPy or torch.
    """
    text = json.dumps(_plain(data), indent=2, allow_nan=False) + "\n"
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
