"""Links and odd entries where run folders lie, and where a comparison and a run write."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hostile.kinds import CONTROL, MARKUP, Kind, Traps, executing


def _outside(folder: Path, traps: Traps) -> None:
    """The run folder is a link to a run elsewhere."""
    target = traps.outside / folder.name
    folder.rename(target)
    folder.symlink_to(target)


def _itself(folder: Path, traps: Traps) -> None:
    shutil.rmtree(folder)
    folder.symlink_to(folder.name)


def _empty(folder: Path, traps: Traps) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def _below(name: str) -> Callable[[Path, Traps], Any]:
    """The run lies in a folder of another name, beside the others of its study."""

    def make(folder: Path, traps: Traps) -> None:
        place = os.fsencode(folder.parents[2]) + b"/" + os.fsencode(name) + b"/a-b/"
        os.makedirs(place)
        os.rename(os.fsencode(folder), place + os.fsencode(folder.name))

    return make


KINDS = {
    "a run folder that is a link out of the study": Kind(_outside, broken=True),
    "a run folder that is a link to itself": Kind(_itself),
    "a run folder without files": Kind(_empty, trains=True),
    "below a folder of markup": Kind(_below(MARKUP.replace("/", "")), compared=True, trains=True),
    "below a folder of control characters": Kind(_below(CONTROL.replace("\0", "")), compared=True, trains=True),
    "below a folder in Latin-1": Kind(_below("caf\udce9-mlp"), compared=True, trains=True),
    "below a folder that is a formula": Kind(_below("=1+1"), compared=True, trains=True),
    "below a folder like an option": Kind(_below("--out"), compared=True, trains=True),
}


def litter(study: Path, traps: Traps) -> int:
    """Entries of the study itself that lead elsewhere; returns how many of them a comparison tells of."""
    (study / "elsewhere").symlink_to(traps.outside)
    (study / "loop").symlink_to("loop")
    (study / "again").symlink_to(".")
    os.mkfifo(study / "pipe")
    deep = study
    for _ in range(60):
        deep = deep / "deep"
    deep.mkdir(parents=True)
    plans = study / ".multirun"
    plans.mkdir()
    runs = ["../../outside/a-b/seed0-00000000", "/etc/a/b", "a/../../x", 3, "a/b/c\0d"]
    (plans / "1.json").write_text(json.dumps({"runs": runs}))
    (plans / "2.json").write_text("[" * 10**5)
    os.mkfifo(plans / "3.json")
    (plans / "4.json").symlink_to(traps.victim)
    report = study / "report"
    report.mkdir()
    for name in ("comparison.csv", "comparison.md", "comparison.tex", "comparison.html"):
        (report / name).symlink_to(traps.victim)
        for draft in (f".{os.getpid()}-{name}", f".draft-{name}"):
            (report / draft).symlink_to(traps.victim)
    os.mkfifo(report / "comparison.json")
    return 2  # the links to folders


def lock_traps(study: Path, name: str, traps: Traps) -> None:
    """The folder of locks is a link to one in which the lock of a run is somebody's file."""
    locks = traps.outside / "locks"
    locks.mkdir(exist_ok=True)
    (locks / f"{name}.lock").write_text("to be kept")
    (study / ".locks").symlink_to(locks)


def _checkpoint(name: str, content: Callable[[Traps], bytes] | None) -> Callable[[Path, Traps], Any]:
    def make(folder: Path, traps: Traps) -> None:
        path = folder / "checkpoints" / name
        path.parent.mkdir()
        if content is None:
            os.mkfifo(path)
        else:
            path.write_bytes(content(traps))

    return make


def _linked(what: str) -> Callable[[Path, Traps], Any]:
    def make(folder: Path, traps: Traps) -> None:
        path = folder / what
        path.parent.mkdir(exist_ok=True)
        path.symlink_to(traps.victim if "." in path.name else traps.outside)

    return make


def _locks(folder: Path, traps: Traps) -> None:
    lock_traps(folder.parents[2], folder.name, traps)


def _lock(folder: Path, traps: Traps) -> None:
    locks = folder.parents[2] / ".locks"
    locks.mkdir()
    (locks / f"{folder.name}.lock").symlink_to(traps.victim)


def _dataset_folder(folder: Path, traps: Traps) -> None:
    place = folder.parents[1]
    place.rename(traps.outside / place.name)
    place.symlink_to(traps.outside / place.name)


UNFINISHED = {
    "last.ckpt is a pipe": _checkpoint("last.ckpt", None),
    "last.ckpt executes": _checkpoint("last.ckpt", executing),
    "last.ckpt is empty": _checkpoint("last.ckpt", lambda traps: b""),
    "last.ckpt is a link": _linked("checkpoints/last.ckpt"),
    "best.ckpt is a link": _linked("checkpoints/best.ckpt"),
    "the folder of checkpoints is a link": _linked("checkpoints"),
    "the folder of figures is a link": _linked("figures"),
    "the folder of tensorboard is a link": _linked("tensorboard"),
    "train.log is a link": _linked("train.log"),
    "embeddings.npz is a link": _linked("embeddings.npz"),
    "per_class.csv is a link": _linked("per_class.csv"),
    "the folder of locks is a link": _locks,
    "the lock is a link": _lock,
    "the folder of the data set is a link": _dataset_folder,
}
"""What a run would write through, wait for or execute; of an unfinished run."""
