"""Trains the golden runs with the code of two commits and compares every logged figure, step by step.

python scripts/loss_compare.py HEAD~1 . --assert-equal      to the bit
python scripts/loss_compare.py main . --tolerance 1e-12     relative, float64 runs
python scripts/loss_compare.py . --spread                   one tree as other kinds of CPU would compute it
python scripts/loss_compare.py REV --save tests/golden      make golden files anew from a commit

A side is a commit, or a folder such as ``.`` with a checkout in any state. Both sides run through their own
``train.py`` and are read from ``metrics.csv``, on this machine, with one thread.
"""

import argparse
import csv
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT / "tests" / "golden"
CAPABILITIES = ("avx512", "avx2", "default")

History = dict[str, list[str]]
"""Cells of a metrics.csv by column, as text."""


def golden_runs(names: Sequence[str] = (), precisions: Sequence[str] = ()) -> dict[str, list[str]]:
    """Words of the command line of each golden run, by ``<run>-<precision>``."""
    said = yaml.safe_load((GOLDEN / "runs.yaml").read_text(encoding="utf-8"))
    return {
        f"{name}-{precision}": [*words, *said["shared"], *further]
        for name, words in said["runs"].items()
        for precision, further in said["precisions"].items()
        if (not names or name in names) and (not precisions or precision in precisions)
    }


def read(path: Path) -> History:
    """The columns of a metrics.csv."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {column: [row[column] for row in rows] for column in rows[0]}


def differences(old: History, new: History) -> dict[str, float]:
    """Largest relative difference of each column that is not equal to the letter.

    inf where a column or a row is missing, or where only one side has a finite number.
    """
    different = {}
    for column, cells in old.items():
        others = new.get(column, [])
        if cells == others:
            continue
        different[column] = max(map(_relative, cells, others)) if len(cells) == len(others) else float("inf")
    return different


def _relative(old: str, new: str) -> float:
    if old == new:
        return 0.0
    if not (old and new):
        return float("inf")
    a, b = float(old), float(new)
    # NaN compares false: a difference to it counts as infinite.
    return abs(a - b) / max(abs(a), abs(b)) if abs(a - b) < float("inf") else float("inf")


@contextmanager
def checkout(side: str) -> Iterator[Path]:
    """The folder of a side: itself, or a detached worktree of a commit that is removed afterwards."""
    if Path(side).is_dir():
        yield Path(side).resolve()
        return
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        added = subprocess.run(
            ["git", "-C", str(ROOT), "worktree", "add", "--detach", str(tree), side], capture_output=True, text=True
        )
        if added.returncode:
            sys.exit(f"loss_compare: {side} is no folder and no commit: {added.stderr.strip().splitlines()[-1]}")
        try:
            yield tree
        finally:
            subprocess.run(["git", "-C", str(ROOT), "worktree", "remove", "--force", str(tree)], check=False)


def train(tree: Path, words: Sequence[str], capability: str | None = None) -> Path:
    """Trains one run with the code of a tree; returns its metrics.csv, in a new temporary folder."""
    output = Path(tempfile.mkdtemp())
    environment = {**os.environ, "PYTHONPATH": str(tree / "src"), "OMP_NUM_THREADS": "1"}
    if capability:
        environment["ATEN_CPU_CAPABILITY"] = capability
    command = [sys.executable, str(tree / "train.py"), *words, f"paths.output_dir={output}"]
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"loss_compare: {' '.join(command)}\n{done.stdout}{done.stderr}")
    (history,) = output.rglob("metrics.csv")
    return history


def _histories(trees: Sequence[tuple[Path, str | None]], words: Sequence[str]) -> list[History]:
    with ThreadPoolExecutor() as pool:
        paths = list(pool.map(lambda side: train(side[0], words, side[1]), trees))
    histories = [read(path) for path in paths]
    for path in paths:
        shutil.rmtree(path.parents[4])
    return histories


def _report(name: str, old: History, new: History, tolerance: float) -> bool:
    """One line on a pair of histories; whether they agree."""
    different = differences(old, new)
    worst = max(different.values(), default=0.0)
    steps = sum(cell != "" for cell in old["train/loss_step"])
    line = f"{name:28} {steps} steps, {len(old)} columns: "
    if not different:
        line += "equal to the bit"
    else:
        column = max(different, key=different.__getitem__)
        line += f"largest relative difference {worst:.2g} in {column}, {len(different)} columns differ"
    added = sorted(new.keys() - old.keys())
    print(line + (f"; new: {', '.join(added)}" if added else ""), flush=True)
    return worst <= tolerance


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sides", nargs="+", metavar="SIDE", help="a commit or a folder; two, or one with a flag")
    parser.add_argument("--assert-equal", action="store_true", help="exit with 1 unless equal to the bit")
    parser.add_argument("--tolerance", type=float, default=None, help="exit with 1 above this relative difference")
    parser.add_argument("--spread", action="store_true", help="compare kinds of CPU instead of two sides")
    parser.add_argument("--save", type=Path, metavar="FOLDER", help="write the histories of one side as golden files")
    parser.add_argument("--runs", default="", help="names, separated by commas; default: all")
    parser.add_argument("--precisions", default="", help="float32, float64; default: both")
    args = parser.parse_args()
    single = args.spread or args.save is not None
    if len(args.sides) != (1 if single else 2):
        parser.error("one side with --spread or --save, else two")
    tolerance = 0.0 if args.assert_equal else float("inf") if args.tolerance is None else args.tolerance
    runs = golden_runs(args.runs.split(",") if args.runs else (), args.precisions.split(",") if args.precisions else ())
    if not runs:
        parser.error(f"no such run; there are: {', '.join(golden_runs())}")
    agree = True
    with checkout(args.sides[0]) as first, checkout(args.sides[-1]) as last:
        for name, words in runs.items():
            if args.save is not None:
                shutil.copyfile(train(first, words), args.save / f"{name}.csv")
                print(args.save / f"{name}.csv", flush=True)
            elif args.spread:
                base, *others = _histories([(first, capability) for capability in CAPABILITIES], words)
                for capability, other in zip(CAPABILITIES[1:], others, strict=True):
                    agree &= _report(f"{name} {capability}", base, other, tolerance)
            else:
                old, new = _histories([(first, None), (last, None)], words)
                agree &= _report(name, old, new, tolerance)
    sys.exit(0 if agree else 1)


if __name__ == "__main__":
    main()
