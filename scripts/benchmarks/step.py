"""Steps of training, with all callbacks, by this code and by that of another commit, in turns."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from math import comb
from multiprocessing.connection import Connection, Listener
from pathlib import Path

from loss_compare import checkout

from benchmarks.clock import ADDRESS, KEY
from benchmarks.table import Table

HERE = Path(__file__).resolve().parents[2]
# Words of a run, and how many of its steps are timed at once.
RUNS = {
    "default": ("", 100),
    "sum": ("loss=sum", 100),
    "memory": ("loss=supcon memory=xbm memory.size=4096 memory.warmup_steps=0", 40),
    "mnist": ("dataset=mnist loss=triplet miner=semihard", 10),
}


def run(quick: bool, data_dir: Path | None, against: str = "HEAD") -> None:
    """Print the median ratio of each run's step time, this code over the other, with its 95 % interval."""
    print(f"steps of this checkout over steps of {against}; above 1 this one is slower")
    table = Table([("run", 10), ("ms here", 9), ("ms there", 9), ("ratio", 7), ("95 % interval", 16), ("pairs", 6)])
    pairs = 3 if quick else 40
    with checkout(against) as other:
        for name, (words, steps) in RUNS.items():
            if "dataset=" in words and data_dir is None:
                print(f"{name} skipped: it needs --data-dir")
                continue
            steps = 2 if quick else steps
            with _trainer(HERE, words, steps, data_dir) as here, _trainer(other, words, steps, data_dir) as there:
                for side in (here, there):  # the first steps allocate and warm up
                    _timed(side)
                turns = [_turn(here, there, number) for number in range(pairs)]
            ratios = sorted(a / b for a, b in turns)
            low, high = _median_interval(len(ratios))
            ours, theirs = (sorted(side)[pairs // 2] / steps * 1000 for side in zip(*turns, strict=True))
            interval = f"{ratios[low]:.3f} to {ratios[high]:.3f}"
            table.row([name, f"{ours:.2f}", f"{theirs:.2f}", f"{ratios[pairs // 2]:.3f}", interval, str(pairs)])


def _turn(here: Connection, there: Connection, number: int) -> tuple[float, float]:
    """Seconds of both sides, who begins in turns."""
    if number % 2:
        theirs = _timed(there)
        return _timed(here), theirs
    return _timed(here), _timed(there)


def _timed(side: Connection) -> float:
    side.send(True)
    taken: float = side.recv()
    return taken


def _median_interval(count: int) -> tuple[int, int]:
    """Positions, among as many sorted values, between which their median lies with a chance of at least 95 %."""
    low = 0
    while 2 * sum(comb(count, k) for k in range(low + 2)) / 2**count <= 0.05:
        low += 1
    return low, count - 1 - low


@contextmanager
def _trainer(root: Path, words: str, steps: int, data_dir: Path | None) -> Iterator[Connection]:
    """A process that trains a run with the code below ``root``, and stands still unless it is told to go on."""
    with tempfile.TemporaryDirectory() as folder:
        address = f"{folder}/clock"
        paths = [str(root / "src"), str(HERE / "scripts")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), ADDRESS: address}
        command = [sys.executable, str(root / "train.py"), *words.split()]
        command += ["trainer=cpu", "trainer.max_epochs=100000", "evaluation.every_n_epochs=100000", "logger=none"]
        command += [f"paths.output_dir={folder}", "+callbacks.clock._target_=benchmarks.clock.Clock"]
        command += [f"+callbacks.clock.steps={steps}", *([f"paths.data_dir={data_dir}"] if data_dir else [])]
        with Listener(address, authkey=KEY) as listener, open(f"{folder}/log", "w+") as log:
            process = subprocess.Popen(command, cwd=root, env=environment, stdout=log, stderr=log)
            try:
                connection = listener.accept()
                connection.recv()  # it stands before its first step
                yield connection
                connection.send(False)
            finally:
                process.terminate()
                process.wait()
