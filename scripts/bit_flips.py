"""Flip bits of checkpoints, one at a time, and load what is left.

python scripts/bit_flips.py
python scripts/bit_flips.py --count 100 --seed 3
python scripts/bit_flips.py outputs/default/digits-mlp/triplet-all/seed0-0a1b2c3d/checkpoints/best.ckpt

Files are those of a tiny run, ``last.ckpt`` and ``best.ckpt``, and its weights as others save them, ``weights.pth``; or
those that are given. They are copied first. Exits with 1 if a changed tensor was loaded.
"""

import argparse
import random
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from metriscope.tensor_files import Damaged, Unsafe, load

_RUN = [
    "dataset=synthetic",
    "dataset.classes=5",
    "dataset.per_class=20",
    "dataset.dimension=8",
    "backbone.widths=[12]",
    "head.size=6",
    "sampler.batch_size=20",
    "evaluation.classification=false",
    "trainer=cpu",
    "trainer.max_epochs=1",
    "logger=none",
]


class Counts(NamedTuple):
    """What became of the flips of one file."""

    refused: int
    equal: int
    changed: int


def flip_bits(path: Path, count: int, draw: random.Random) -> Counts:
    """Flip ``count`` random bits of a file, one at a time, and load it after each; the file is as before afterwards."""
    wanted = load(path)
    size = path.stat().st_size
    refused = equal = changed = 0
    with path.open("r+b", buffering=0) as file:
        for _ in range(count):
            place, bit = draw.randrange(size), 1 << draw.randrange(8)
            _flip(file, place, bit)
            try:
                found = load(path)
            except (Damaged, Unsafe):
                refused += 1
            else:
                equal, changed = (equal + 1, changed) if same(found, wanted) else (equal, changed + 1)
            _flip(file, place, bit)
    return Counts(refused, equal, changed)


def same(one: Any, other: Any) -> bool:
    """Whether two contents of checkpoints are equal to the bit."""
    if type(one) is not type(other):
        return False
    if isinstance(one, torch.Tensor):
        kind = one.dtype == other.dtype and one.shape == other.shape
        return kind and one.numpy().tobytes() == other.numpy().tobytes()
    if isinstance(one, Mapping):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other or (one != one and other != other))


def _flip(file: Any, place: int, bit: int) -> None:
    file.seek(place)
    (value,) = file.read(1)
    file.seek(place)
    file.write(bytes([value ^ bit]))


def files_of_a_run(folder: Path) -> list[Path]:
    """Checkpoints of a tiny run below ``folder``, and a file of its weights without a seal."""
    from metriscope.app import train
    from metriscope.config.compose import compose_config

    outcome = train(compose_config([*_RUN, f"paths.output_dir={folder}"]))
    checkpoints = outcome.folder / "checkpoints"
    weights = folder / "weights.pth"
    torch.save(load(checkpoints / "best.ckpt")["state_dict"], weights)
    return [checkpoints / "last.ckpt", checkpoints / "best.ckpt", weights]


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, help="default: those of a tiny run")
    parser.add_argument("--count", type=int, default=1000, help="flips of each file (default 1000)")
    parser.add_argument("--seed", type=int, default=0, help="of the places of the flips (default 0)")
    arguments = parser.parse_args(words)
    draw = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory(prefix="bit-flips-") as name:
        folder = Path(name)
        found = []
        for number, path in enumerate(arguments.files or files_of_a_run(folder)):
            copy = folder / f"{number}-{path.name}"
            copy.write_bytes(path.read_bytes())
            found.append((path.name, flip_bits(copy, arguments.count, draw)))
    print(f"{'file':<16}{'flips':>8}{'refused':>9}{'loaded equal':>14}{'loaded changed':>16}")
    for title, (refused, equal, changed) in found:
        print(f"{title:<16}{arguments.count:>8}{refused:>9}{equal:>14}{changed:>16}")
    return 1 if any(counts.changed for _, counts in found) else 0


if __name__ == "__main__":
    sys.exit(main())
