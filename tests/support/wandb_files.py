"""What W&B wrote into its files, read back."""

import json
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any


def records(folder: Path) -> list[Any]:
    """Records of the newest offline run, once W&B's process, which outlives ``finish``, has written the last one."""
    deadline = time.monotonic() + 60
    while True:
        (path,) = max(folder.glob("wandb/offline-run-*")).glob("*.wandb")
        kept = list(records_of(path))
        if any(record.HasField("exit") for record in kept):
            return kept
        assert time.monotonic() < deadline, f"no end of the run in {folder}"
        time.sleep(0.05)


def records_of(path: Path) -> Iterator[Any]:
    """Whole records of an offline file: after 7 bytes, LevelDB log framing in blocks of 32 KiB."""
    protocol: Any = import_module("wandb.proto.wandb_internal_pb2")
    data, at, message = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        if at + 7 + length > len(data):
            return
        message += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield protocol.Record.FromString(message)
            message = b""


def values(items: Any) -> dict[str, Any]:
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}
