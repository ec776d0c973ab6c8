"""The default run alone and beside two busy loops: what idle threads that spin cost, and what the setting saves."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.table import Table

ROOT = Path(__file__).resolve().parents[2]
LOOPS = 2
# Ends with the process that started it, however that ends.
LOOP = "import os; parent = os.getppid()\nwhile os.getppid() == parent: pass"
# GNU's own default, as if Metriscope set nothing.
SETTINGS = {"as shipped": None, "without": "300000"}
QUIET, BUSY = "quiet", "busy"


def run(quick: bool, data_dir: Path | None) -> None:
    """Print the seconds of the whole command in turns, and the ratios of their medians."""
    turns = 1 if quick else 3
    words = ["dataset=synthetic", "trainer.max_epochs=1", "logger=none"] if quick else []
    print(f"python train.py {' '.join(words)}; busy: beside {LOOPS} loops; seconds of the whole command, {turns} turns")
    found: dict[tuple[str, str], list[float]] = {(name, when): [] for name in SETTINGS for when in (QUIET, BUSY)}
    for _ in range(turns):
        for name, spins in SETTINGS.items():
            found[name, QUIET].append(seconds(words, spins))
            with loops(LOOPS):
                found[name, BUSY].append(seconds(words, spins))
            print(f"{name}: {found[name, QUIET][-1]:.1f} s, {found[name, BUSY][-1]:.1f} s", file=sys.stderr, flush=True)
    middle = {key: statistics.median(taken) for key, taken in found.items()}
    table = Table(
        [("GOMP_SPINCOUNT", 14), ("quiet s", 8), ("busy s", 8), ("busy / quiet", 12), ("quiet / without", 15)]
    )
    for name in SETTINGS:
        quiet, busy = middle[name, QUIET], middle[name, BUSY]
        ratio = quiet / middle["without", QUIET]
        table.row([name, f"{quiet:.1f}", f"{busy:.1f}", f"{busy / quiet:.2f}x", f"{ratio:.3f}x"])
    print("wanted: as shipped at most 3x busy, and at most 1.03x quiet")


def seconds(words: list[str], spins: str | None) -> float:
    """Wall time of one run as a process of its own, in a folder of its own.

    Raises:
        CalledProcessError: it failed.
    """
    # What this process has set for itself is left out.
    environment = {key: value for key, value in os.environ.items() if key != "GOMP_SPINCOUNT"}
    if spins is not None:
        environment["GOMP_SPINCOUNT"] = spins
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(ROOT / "train.py"), *words, f"paths.output_dir={folder}"]
        before = time.perf_counter()
        subprocess.run(command, env=environment, check=True, capture_output=True)
        return time.perf_counter() - before


@contextmanager
def loops(count: int) -> Iterator[None]:
    """Processes that do nothing but use a core each."""
    processes = [subprocess.Popen([sys.executable, "-c", LOOP]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()
