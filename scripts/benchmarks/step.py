"""Steps of training, with all callbacks, by this code and by that of another commit, in turns."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from loss_compare import checkout

from benchmarks.table import Table
from benchmarks.turns import ROOT, Median, Side, in_turns, started

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
            with _trainer(ROOT, words, steps, data_dir) as here, _trainer(other, words, steps, data_dir) as there:
                for side in (here, there):  # the first steps allocate and warm up
                    side.ask()
                turns = in_turns(here.ask, there.ask, pairs)
            ratio = Median.of([a / b for a, b in turns])
            ours, theirs = (f"{median(side) / steps * 1000:.2f}" for side in zip(*turns, strict=True))
            table.row([name, ours, theirs, f"{ratio.value:.3f}", f"{ratio.low:.3f} to {ratio.high:.3f}", str(pairs)])


@contextmanager
def _trainer(root: Path, words: str, steps: int, data_dir: Path | None) -> Iterator[Side]:
    """A process that trains a run with the code below ``root``; it answers with the seconds of the next steps."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["train.py", *words.split(), "trainer=cpu", "logger=none", f"paths.output_dir={folder}"]
        command += ["trainer.max_epochs=100000", "evaluation.every_n_epochs=100000"]
        command += ["+callbacks.clock._target_=benchmarks.clock.Clock", f"+callbacks.clock.steps={steps}"]
        command += [f"paths.data_dir={data_dir.resolve()}"] if data_dir else []
        with started(root, command) as side:
            side.answer()  # it stands before its first step
            yield side
