"""Damaged figures of a run: ``summary.json``, ``metrics.csv`` and ``embeddings.npz``."""

import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hostile.kinds import CONTROL, MARKUP, Executed, Kind, Traps, absent, changed, of_every_sort, text

SUMMARY, HISTORY, EMBEDDINGS = "summary.json", "metrics.csv", "embeddings.npz"
_HEAD = "epoch,step,train/loss,val/recall_at_1\n"
_COLUMNS = ",".join(f"train/own{i}" for i in range(10**6))

SUMMARIES = {
    "no summary.json": Kind(absent(SUMMARY)),
    **of_every_sort(SUMMARY),
    "summary.json is empty": Kind(text(SUMMARY, "")),
    "summary.json is a list": Kind(text(SUMMARY, "[1]")),
    "summary.json of 200,000 brackets": Kind(text(SUMMARY, '{"a":' * 200_000)),
    "a figure of 400 digits": Kind(changed(SUMMARY, **{"test/recall_at_1": 10**400})),
    "figures that are text": Kind(changed(SUMMARY, **{"test/recall_at_1": MARKUP, "best/epoch": "x"}), compared=True),
    "figures as large as they come": Kind(changed(SUMMARY, **{"test/map_at_r": 1.7e308}), compared=True),
    "figures that are none": Kind(
        text(SUMMARY, '{"test/recall_at_1": NaN, "test/map_at_r": -Infinity, "train/loss": 1e999}'), compared=True
    ),
    "figures of figures": Kind(changed(SUMMARY, **{"test/recall_at_1": [0.5], "best/epoch": {}}), compared=True),
    "keys of figures of markup": Kind(changed(SUMMARY, **{f"test/{MARKUP}": 1, f"test/{CONTROL}": 2}), compared=True),
}

_drawn = {"compared": True, "drawn": True}
HISTORIES = {
    "no metrics.csv": Kind(absent(HISTORY), **_drawn),
    **of_every_sort(HISTORY, **_drawn),
    "metrics.csv is empty": Kind(text(HISTORY, ""), **_drawn),
    "metrics.csv without step": Kind(text(HISTORY, "epoch,train/loss\n0,0.5\n1,0.4\n"), **_drawn),
    "metrics.csv with NUL bytes": Kind(text(HISTORY, _HEAD + "0,4,0.5,\n" + "\0" * 4096 + "\n1,9,0.4,\n"), **_drawn),
    "metrics.csv of a million columns": Kind(text(HISTORY, f"epoch,step,{_COLUMNS}\n0,1\n"), **_drawn),
    "metrics.csv with an endless line": Kind(text(HISTORY, _HEAD + "1" * 10**7), **_drawn),
    "metrics.csv of a million rows": Kind(text(HISTORY, _HEAD + "0,4,1,\n" * (10**6 + 2)), **_drawn),
    "metrics.csv of 4,000 digits": Kind(text(HISTORY, _HEAD + f"{'9' * 4000},1,.5,\n0,1,.5,\n"), **_drawn),
    "metrics.csv without its end": Kind(text(HISTORY, _HEAD + "0,4,0.5,\n1,9,0."), **_drawn),
    "metrics.csv of infinite figures": Kind(text(HISTORY, _HEAD + "0,4,inf,nan\n1,9,1e308,-1e308\n"), **_drawn),
    "metrics.csv of epochs that fall": Kind(text(HISTORY, _HEAD + "9,4,1,1\n-3,9,1,1\n9,1,2,2\n"), compared=True),
}


def saved(**changes: Any) -> Callable[[Path, Traps], Any]:
    """Embeddings, labels and classes that do not belong together."""

    def make(folder: Path, traps: Traps) -> None:
        z, y = np.zeros((4, 3), np.float32), np.array([0, 0, 1, 1])
        arrays: dict[str, Any] = {"embeddings": z, "labels": y, "classes": np.array(["a", "b"]), **changes}
        if arrays["embeddings"] is Executed:
            arrays["embeddings"] = np.array([Executed(traps)], dtype=object)
        np.savez(folder / EMBEDDINGS, **{key: value for key, value in arrays.items() if value is not None})

    return make


def _claimed(folder: Path, traps: Traps) -> None:
    """A header that claims a terabyte."""
    with zipfile.ZipFile(folder / EMBEDDINGS, "w") as archive:
        for name, shape in (("embeddings", (2**20, 2**18)), ("labels", (2**20,)), ("classes", (2,))):
            head = io.BytesIO()
            np.lib.format.write_array_header_1_0(head, {"descr": "<f4", "fortran_order": False, "shape": shape})
            archive.writestr(f"{name}.npy", head.getvalue())


def _packed(folder: Path, traps: Traps) -> None:
    """A megabyte of zeros, deflated, that says it has two gigabytes."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("embeddings.npy", bytes(2**20))
    said = made.getvalue().replace(struct.pack("<I", 2**20), struct.pack("<I", 2**31))
    (folder / EMBEDDINGS).write_bytes(said)


def _odd_names(folder: Path, traps: Traps) -> None:
    names = np.array([MARKUP + CONTROL.replace("\0", ""), "x$" * 10**5])
    saved(classes=names, embeddings=np.eye(4, 3, dtype=np.float32))(folder, traps)


SAVED = {
    **of_every_sort(EMBEDDINGS, **_drawn),
    "embeddings that execute": Kind(saved(embeddings=Executed), **_drawn),
    "embeddings that claim a terabyte": Kind(_claimed, **_drawn),
    "embeddings packed a thousand times": Kind(_packed, **_drawn),
    "embeddings without labels": Kind(saved(labels=None), **_drawn),
    "embeddings of labels without a class": Kind(saved(labels=np.array([0, 1, 2, -(2**40)])), **_drawn),
    "embeddings of another shape": Kind(saved(embeddings=np.zeros(3)), **_drawn),
    "embeddings that are not finite": Kind(saved(embeddings=np.full((4, 3), np.inf)), compared=True),
    "classes of markup": Kind(_odd_names, compared=True),
}
KINDS = {**SUMMARIES, **HISTORIES, **SAVED}
