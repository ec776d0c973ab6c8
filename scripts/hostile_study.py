"""Make studies that are damaged and malicious, and show kind by kind what the commands do with them.

python scripts/hostile_study.py OUT
python scripts/hostile_study.py OUT --only run.json

Every kind gets a study of its own with two good runs. `status`, `compare` and, where the run need not be trained,
`train` are run on it, each in a process with limits of time and memory. Exits with 1 if a command ends in a
traceback, hangs, writes outside of the study, or executes what a file holds. Linux only.
"""

import argparse
import contextlib
import os
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests" / "support"), str(ROOT / "scripts")]

import torch  # noqa: E402
from hostile.kinds import Kind, Traps  # noqa: E402
from hostile.places import UNFINISHED  # noqa: E402
from hostile.study import FIRST, KINDS, WORDS, traps_in  # noqa: E402
from hostile.watch import BYTES, SECONDS, state  # noqa: E402
from studies import config, write_run, write_study  # noqa: E402

from metriscope import app, ending  # noqa: E402
from metriscope.cli import run  # noqa: E402
from metriscope.reports import page, study_figures  # noqa: E402

FIGURES = ["--html", "--figures", "learning_curves,embeddings"]


class Ended(NamedTuple):
    """How one command ended: its exit code (None: it hung), what it wrote, and what it took."""

    code: int | None
    output: str
    seconds: float
    peak: int

    @property
    def said(self) -> str:
        if self.code is None:
            return "HANGS"
        if "Traceback" in self.output or self.code not in (0, 2):
            return "TRACEBACK"
        told = [line for line in self.output.splitlines() if "left out" in line or line.startswith("metriscope: ")]
        return f"{len(told)} line{'s' * (len(told) > 1)}" if told else "ok"


def attempt(command: str, words: list[str], log: Path) -> Ended:
    """Run a command in a process of its own; the heavy imports are made once, before it is forked."""
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        code = 3
        with contextlib.suppress(SystemExit), log.open("w") as file:
            for stream in (1, 2):
                os.dup2(file.fileno(), stream)
            used = 1024 * int(Path("/proc/self/status").read_text().partition("VmData:")[2].split()[0])
            resource.setrlimit(resource.RLIMIT_DATA, (used + BYTES, used + BYTES))
            with contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
                code = _traced(command, words)
        os._exit(code)
    while True:
        done, status, usage = os.wait4(pid, os.WNOHANG)
        if done or time.monotonic() - began > 3 * SECONDS:  # other processes may slow it down
            break
        time.sleep(0.01)
    if not done:
        os.kill(pid, signal.SIGKILL)
        _, _, usage = os.wait4(pid, 0)
    code = os.waitstatus_to_exitcode(status) if done else None
    text = log.read_text(errors="replace")
    return Ended(code, text, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def _traced(command: str, words: list[str]) -> int:
    import traceback

    try:
        return run(command, words)
    except BaseException:
        traceback.print_exc()
        return 3


def commands(root: Path, name: str, kind: Kind | None) -> Mapping[str, list[str]]:
    study = str(root / "outputs" / "trial")
    shown = {"status": [study], "compare": [study, "--by", "loss.name", *(FIGURES if kind and kind.compared else [])]}
    if kind is not None and kind.trains:
        return shown
    words = [*WORDS, f"seed={FIRST}", "study=trial", "logger=none", f"paths.output_dir={root / 'outputs'}"]
    return {**shown, "train": [*words, *(["resume=must"] if kind is None else [])]}


def prepared(root: Path, name: str, kind: Kind | None) -> Traps:
    """A study of two good runs and one of the kind; None is a kind of an unfinished run."""
    traps = traps_in(root)
    write_study(root / "outputs", {"contrastive": 0.6, "triplet": 0.9}, seeds=1)
    status = "interrupted" if kind is None else "finished"
    folder = write_run(config(root / "outputs", *WORDS, seed=FIRST), status=status)
    (UNFINISHED[name] if kind is None else kind.make)(folder, traps)
    return traps


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="OUT", help="an empty or new folder for the studies")
    parser.add_argument("--only", default="", metavar="TEXT", help="kinds whose name holds this text")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    assert all((app, ending, page, study_figures))  # imported for the processes that are forked
    every: dict[str, Kind | None] = {**KINDS, **dict.fromkeys(UNFINISHED)}
    kinds = {name: kind for name, kind in every.items() if arguments.only in name}
    counts = Counter({"TRACEBACK": 0, "HANGS": 0, "WRITTEN OUTSIDE": 0, "EXECUTED": 0})
    longest, most = 0.0, 0
    print(f"{'kind':<48}{'status':<12}{'compare':<12}{'train':<12}")
    for number, (name, kind) in enumerate(kinds.items()):
        root = arguments.out.resolve() / f"{number:03}"
        traps = prepared(root, name, kind)
        before, cells = state(traps.outside), []
        for command, words in commands(root, name, kind).items():
            ended = attempt(command, words, root / f"{command}.log")
            longest, most = max(longest, ended.seconds), max(most, ended.peak)
            cells.append(ended.said)
        cells += [""] * (3 - len(cells))
        cells += ["WRITTEN OUTSIDE"] * (state(traps.outside) != before) + ["EXECUTED"] * traps.executed.exists()
        counts.update(filter(None, cells))
        print(f"{name:<48}" + "".join(f"{cell:<12}" for cell in cells).rstrip(), flush=True)
    print(f"\n{len(kinds)} kinds: {', '.join(f'{count} {name.lower()}' for name, count in counts.items())}")
    print(f"longest command {longest:.1f} s of processor time; most memory {most / 2**20:.0f} MiB, imports included")
    return int(any(count for name, count in counts.items() if name.isupper()))


if __name__ == "__main__":
    sys.exit(main())
