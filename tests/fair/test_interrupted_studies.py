"""Studies whose process is interrupted or killed at random moments, again and again, and goes on."""

import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest
from tiny_runs import TINY

from metriscope.cli import run
from metriscope.run.fair import DEFINITION, LEDGER, MANIFEST
from metriscope.run.ledger import read as read_ledger

pytest.importorskip("optuna")
pytestmark = [pytest.mark.processes, pytest.mark.timeout(900)]

FOLDS = 2
ASKED = (
    *TINY, "trainer.max_epochs=1", "losses=contrastive,triplet/semihard", "trials=7", f"folds={FOLDS}", "repeats=2",
    "workers=0",
)  # fmt: skip
INTERRUPTIONS = 10
# At which steps of a study: before the next trial or run has ended, or after it.
STEPS = (0, 1, 1, 0, 1, 1, 1, 0, 1, 1)


def started(root: Path) -> int:
    """The id of a forked process that runs the study below ``root``; what it imports is there already."""
    child = os.fork()
    if child:
        return child
    try:
        os.chdir(root)
        sys.stdout = sys.stderr = (root / "said.txt").open("a")
        os._exit(run("fair", [*ASKED, f"paths.output_dir={root}"]))
    except KeyboardInterrupt:  # before the command listens
        os._exit(130)
    except BaseException:
        os._exit(99)


def progress(root: Path) -> int:
    """Trials and runs that have ended."""
    study = root / "fair"
    trials = len((study / LEDGER).read_text().splitlines()) - 1 if (study / LEDGER).exists() else 0
    return trials + len(list(study.glob("*/*/seed*/summary.json")))


def interrupted(root: Path, steps: int, seconds: float, number: int) -> int | None:
    """Send a signal to the study some time after so many steps; the exit code, None for a killed process."""
    before, child = progress(root), started(root)
    ended = 0
    while not ended and progress(root) < before + steps:
        time.sleep(0.005)
        ended, status = os.waitpid(child, os.WNOHANG)
    if not ended:
        time.sleep(seconds)
        os.kill(child, number)
        _, status = os.waitpid(child, 0)
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else None


def finished(root: Path) -> None:
    _, status = os.waitpid(started(root), 0)
    assert os.waitstatus_to_exitcode(status) == 0, (root / "said.txt").read_text()[-2000:]


def outcome(root: Path):
    """Ledger without times, hash of the manifest, and test figures of all runs by folder."""
    study = root / "fair"
    rows = [vars(row) | {"seconds": 0} for row in read_ledger(study, FOLDS)]
    figures = {
        path.parent.relative_to(study): {
            key: value for key, value in json.loads(path.read_text()).items() if key.startswith("test/")
        }
        for path in study.glob("*/*/seed*/summary.json")
    }
    return rows, json.loads((study / MANIFEST).read_text())["hash"], figures


def test_a_study_that_is_interrupted_ten_times_is_the_undisturbed_one(tmp_path, quick_trainer):
    import metriscope.build.run
    import metriscope.ending
    import metriscope.fair.folds
    import metriscope.reports.fair_report  # noqa: F401

    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for root in (whole, broken):
        root.mkdir()
    begun = time.monotonic()
    finished(whole)
    step = (time.monotonic() - begun) / progress(whole)
    draw = random.Random(0)
    codes = []
    for place in range(INTERRUPTIONS):
        number = draw.choice([signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
        codes.append(interrupted(broken, STEPS[place], draw.random() * step, number))
    # None had finished before its signal came. A killed process has no code, as one that does not listen yet.
    assert set(codes) == {None, 130}, codes
    finished(broken)
    assert outcome(broken) == outcome(whole)
    # Manifest and ledger are enough: without definition and run folders the repeats are made anew, and are the same.
    study = broken / "fair"
    for path in study.iterdir():
        if path.name not in (LEDGER, MANIFEST):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    interrupted(broken, 1, 0.0, signal.SIGINT)
    for path in study.glob("*/*/seed*"):
        shutil.rmtree(path)
        break
    finished(broken)
    assert outcome(broken) == outcome(whole)
    assert (study / DEFINITION).read_bytes() == (whole / "fair" / DEFINITION).read_bytes()


def test_processes_share_a_study(tmp_path, quick_trainer):
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    for root in (alone, shared):
        root.mkdir()
    finished(alone)
    children = [started(shared) for _ in range(2)]
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert codes == [0, 0], (shared / "said.txt").read_text()[-2000:]
    assert outcome(shared) == outcome(alone)
