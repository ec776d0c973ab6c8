"""Send runs a signal at random moments, and look at their exit code, what they say, and the record they leave.

python scripts/signal_test.py
python scripts/signal_test.py --count 10 --seed 3

Moments lie in start-up, training with its evaluations, report, and the end of the process in turn; SIGINT, SIGTERM
and SIGHUP take turns as well. A run that was stopped has to end with exit code 130 and one line, and the same
words have to finish it with the figures of an undisturbed run. A run whose record says finished may end with 0. Exits
with 1 if any is wrong. The heavy imports are made once, and runs are forked from there, except those that are to be
stopped in their start-up.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from metriscope import cli
from metriscope.app import train
from metriscope.config.compose import compose_config
from metriscope.config.plain import plain
from metriscope.errors import Exit
from metriscope.run.identity import folder_of
from metriscope.run.record import FINISHED, INTERRUPTED, read_record

ROOT = Path(__file__).resolve().parents[1]
TINY = (
    *("loss=contrastive", "miner=all", "optimizer=adam", "trainer=cpu", "trainer.max_epochs=6", "logger=files"),
    *("dataset=synthetic", "dataset.classes=10", "dataset.per_class=120", "dataset.dimension=8"),
    *("backbone.widths=[12]", "head.size=6", "sampler.batch_size=20"),
    *("evaluation.metrics.recall_at.k=[1,2]", "evaluation.classification=false"),
)
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# What a run without a signal says on standard error.
_USUAL = ("train: ", "first step ", "epoch ")
_POLL = 0.002


@dataclass
class Phase:
    """A part of a run, from the moment at which ``begun`` is seen on.

    Attributes:
        begun: whether a process that works in this run folder has begun the phase.
        seconds: how long an undisturbed run takes for it.
        share: how many of 20 moments lie in it.
    """

    name: str
    begun: Callable[[int, Path], bool]
    share: int
    seconds: float = 0.0


def catches(process: int) -> bool:
    """Whether a process has set a handler of its own for SIGTERM; before, nothing but the interpreter runs."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return False
    caught = next((int(line.split()[1], 16) for line in lines if line.startswith("SigCgt")), 0)
    return bool(caught >> (signal.SIGTERM - 1) & 1)


def phases() -> list[Phase]:
    """The parts of a run in their order."""
    return [
        Phase("start-up", lambda process, folder: catches(process), 7),
        Phase("training", lambda process, folder: (folder / "metrics.csv").exists(), 5),
        Phase("report", lambda process, folder: (folder / "figures").exists(), 5),
        Phase("end", lambda process, folder: (folder / "summary.json").exists(), 3),
    ]


@dataclass
class Ending:
    """How a process ended: exit code, lines on standard error beyond the usual ones, and what the record says."""

    code: int
    lines: list[str]
    record: str | None

    @property
    def wrong(self) -> str:
        """What is wrong with it; empty if nothing is."""
        if self.code == Exit.FINISHED:
            return "" if self.record == FINISHED and not self.lines else "exit code 0"
        if self.code != Exit.INTERRUPTED:
            return f"exit code {self.code}"
        if len(self.lines) != 1:
            return f"{len(self.lines)} lines"
        return "" if self.record in (None, INTERRUPTED, FINISHED) else f"the record says {self.record}"


class Child:
    """A run in a process of its own.

    Args:
        words: of the command line.
        log: file for standard error.
        forked: whether the process is a fork of this one, which has imported everything.
    """

    def __init__(self, words: list[str], log: Path, forked: bool) -> None:
        self.folder = folder_of(plain(compose_config(words)))
        self._log = log
        self._code: int | None = None
        with log.open("w") as file, open(os.devnull, "w") as nowhere:
            if forked:
                sys.stdout.flush()
                self.pid = os.fork()
                if self.pid == 0:
                    os.dup2(nowhere.fileno(), 1)
                    os.dup2(file.fileno(), 2)
                    sys.argv = ["train.py", *words]
                    cli.train()  # exits
            else:
                command = [sys.executable, str(ROOT / "train.py"), *words]
                self.pid = os.posix_spawn(
                    sys.executable,
                    command,
                    os.environ,
                    file_actions=[
                        (os.POSIX_SPAWN_DUP2, nowhere.fileno(), 1),
                        (os.POSIX_SPAWN_DUP2, file.fileno(), 2),
                    ],
                )

    def reaches(self, phase: Phase) -> bool:
        """Waits for a phase; False if the process has ended before."""
        while not phase.begun(self.pid, self.folder):
            if self._ended(os.WNOHANG):
                return False
            time.sleep(_POLL)
        return True

    def _ended(self, options: int) -> bool:
        if self._code is None:
            found, status = os.waitpid(self.pid, options)
            self._code = os.waitstatus_to_exitcode(status) if found else None
        return self._code is not None

    def send(self, number: int) -> bool:
        """Sends a signal; False if the process has ended before."""
        if self._ended(os.WNOHANG):
            return False
        os.kill(self.pid, number)
        return True

    def ending(self) -> Ending:
        self._ended(0)
        assert self._code is not None
        lines = [line for line in self._log.read_text().splitlines() if not line.startswith(_USUAL)]
        record = read_record(self.folder)
        return Ending(self._code, lines, record and record.status)


def timed(words: list[str], log: Path, forked: bool) -> tuple[list[Phase], dict[str, Any]]:
    """The phases of an undisturbed run with their seconds, and its figures."""
    child, found, moments = Child(words, log, forked), phases(), []
    for phase in found:
        child.reaches(phase)
        moments.append(time.monotonic())
    ending = child.ending()
    if ending.code != Exit.FINISHED:
        raise SystemExit(f"the undisturbed run failed with exit code {ending.code}: see {log}")
    moments.append(time.monotonic())
    for phase, begun, ended in zip(found, moments, moments[1:], strict=False):
        phase.seconds = ended - begun
    return found, json.loads((child.folder / "summary.json").read_bytes())


def turns(found: list[Phase], count: int) -> Iterator[Phase]:
    """Phases in turn, as often as their shares say."""
    cycle = [phase for n in range(max(phase.share for phase in found)) for phase in found if n < phase.share]
    return (cycle[number % len(cycle)] for number in range(count))


def resumed(words: list[str], figures: dict[str, Any]) -> str:
    """What is wrong with a run that the same words finish in this process."""
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        metrics = train(compose_config(words)).metrics
    different = [key for key in figures if "seconds" not in key and metrics.get(key) != figures[key]]
    return f"resumed, {len(different)} figures differ, such as {different[0]}" if different else ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=40, help="how many signals (default 40)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default 0)")
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    folder = Path(tempfile.mkdtemp(prefix="signal-test-"))
    words = [*TINY, f"paths.output_dir={folder}"]
    started, draw, late, wrong = time.monotonic(), random.Random(arguments.seed), 0, 0
    found, figures = timed([*words, "study=undisturbed"], folder / "undisturbed.log", forked=False)
    torch.set_num_threads(1)  # a fork has no threads but one
    resumed([*words, "study=undisturbed"], figures)  # imports what is imported late
    again, _ = timed([*words, "study=again"], folder / "again.log", forked=True)
    for phase, forked in zip(found[1:], again[1:], strict=True):
        phase.seconds = forked.seconds
    print(f"undisturbed: {', '.join(f'{phase.name} {phase.seconds:.1f} s' for phase in found)}")
    print(f"{'':>3} {'phase':<9}{'after s':>8}  {'signal':<8}{'code':>5}{'lines':>6}  {'record':<12} what is wrong")
    for number, phase in enumerate(turns(found, arguments.count)):
        own = [*words, f"study=run{number}"]
        child = Child(own, folder / f"run{number}.log", forked=phase is not found[0])
        wait, chosen = draw.uniform(0, phase.seconds), SIGNALS[number % len(SIGNALS)]
        sent = False
        if child.reaches(phase):
            time.sleep(wait)
            sent = child.send(chosen)
        late += not sent
        ending = child.ending()
        # A run without a record has not begun.
        fault = ending.wrong or (resumed(own, figures) if ending.record == INTERRUPTED else "")
        wrong += bool(fault)
        said = chosen.name if sent else "too late"
        row = f"{number:>3} {phase.name:<9}{wait:>8.2f}  {said:<8}{ending.code:>5}{len(ending.lines):>6}"
        print(f"{row}  {ending.record or '-':<12} {fault}", flush=True)
    print(f"{arguments.count} signals, {late} of them too late, {wrong} wrong; took {time.monotonic() - started:.0f} s")
    if wrong:
        print(f"kept: {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
