"""Kill a sweep at random times until it is done, and compare it with one that nobody disturbed.

python scripts/kill_test.py
python scripts/kill_test.py --kills 10 --seed 3

Every kill is a SIGKILL to the process of `train.py -m`; after it, every file must be whole, and the same command
is given again. In the end all runs must be finished, with the same metrics and weights to the bit. Exits with 1 if
anything differs. The heavy imports are made once and every invocation is forked from there.
"""

import argparse
import csv
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml

from metriscope import cli, ending
from metriscope.build import run
from metriscope.files import drafts
from metriscope.run.record import FINISHED, RUNNING
from metriscope.sweeps.states import State, counts, states_of
from metriscope.tensor_files import load

SEEDS = 6
TINY = (
    f"loss=contrastive,triplet seed=range({SEEDS}) dataset=synthetic dataset.classes=5 dataset.per_class=60 "
    "dataset.dimension=8 backbone.widths=[12] head.size=6 sampler.batch_size=20 evaluation.metrics.recall_at.k=[1,2] "
    "evaluation.classification=false miner=all optimizer=adam scheduler=cosine memory=xbm memory.size=40 "
    "trainer=cpu trainer.log_every_n_steps=1 logger=none"
).split()


class Child:
    """One invocation of the sweep in a process of its own, whose output goes to a file."""

    def __init__(self, words: list[str], log: Path) -> None:
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                with log.open("a") as file:
                    for stream in (1, 2):
                        os.dup2(file.fileno(), stream)
                sys.argv = ["train.py", "-m", *words]
                cli.train()
            except SystemExit as error:
                code = int(error.code or 0)
            finally:
                os._exit(code)

    def wait(self) -> int:
        """The exit code of the whole of it."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def kill_after(self, seconds: float) -> bool:
        """Whether it was still there to be killed."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if os.waitpid(self.pid, os.WNOHANG)[0]:
                return False
            time.sleep(0.002)
        os.kill(self.pid, signal.SIGKILL)
        return self.wait() == -signal.SIGKILL


def torn(study: Path) -> list[str]:
    """Files of a study that are not whole, with what is wrong. A last line of ``metrics.csv`` may be half."""
    readers: dict[str, Callable[[Path], Any]] = {
        "*.json": lambda path: json.loads(path.read_bytes()),
        "*.yaml": lambda path: yaml.safe_load(path.read_text()),
        "*.ckpt": lambda path: load(path)["state_dict"],
        "metrics.csv": _read_rows,
    }
    found = []
    for pattern, read in readers.items():
        for path in study.rglob(pattern):
            if path.name.startswith("."):  # the draft of a file that is not there yet
                continue
            try:
                read(path)
            except Exception as error:
                found.append(f"{path}: {type(error).__name__}: {error}")
    return found


def _read_rows(path: Path) -> None:
    text = path.read_text()
    lines = text[: text.rfind("\n") + 1].splitlines()
    header, *rows = csv.reader(lines)
    for row in rows:
        for key, cell in zip(header, row, strict=True):
            if cell:
                float(cell)
            elif key in ("epoch", "step"):
                raise ValueError("a row without its place")


def differences(one: Path, other: Path) -> list[str]:
    """What is not the same in two folders of a run, apart from times."""
    found = []
    if (one / "metrics.csv").read_bytes() != (other / "metrics.csv").read_bytes():
        found.append(f"{other}/metrics.csv")
    summaries = [json.loads((folder / "summary.json").read_bytes()) for folder in (one, other)]
    for key in sorted(summaries[0].keys() | summaries[1].keys()):
        if "seconds" not in key and summaries[0].get(key) != summaries[1].get(key):
            found.append(f"{other}/summary.json: {key}")
    for name in ("best", "last"):
        states = [load(f / "checkpoints" / f"{name}.ckpt")["state_dict"] for f in (one, other)]
        if states[0].keys() != states[1].keys() or not all(torch.equal(v, states[1][k]) for k, v in states[0].items()):
            found.append(f"{other}/checkpoints/{name}.ckpt")
    return found


def compare(undisturbed: Path, disturbed: Path) -> list[str]:
    """What is wrong with a disturbed sweep that has ended."""
    states = states_of(disturbed)
    found = [f"{state.folder}: {state.status}" for state in states if state.status != FINISHED]
    found += [f"{draft}: left behind" for state in states for draft in drafts(state.folder)]
    for state in states:
        if state.status == FINISHED:
            found += differences(undisturbed / state.folder.relative_to(disturbed), state.folder)
    if len(states) != 2 * SEEDS:
        found.append(f"{disturbed}: {len(states)} runs instead of {2 * SEEDS}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=60, help="how many SIGKILLs (default 60)")
    parser.add_argument("--epochs", type=int, default=12, help="length of each of the 12 runs (default 12)")
    parser.add_argument("--seed", type=int, default=0, help="of the times of the kills (default 0)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp(prefix="kill-test-"))
    words = [*TINY, f"trainer.max_epochs={arguments.epochs}", f"paths.output_dir={folder}"]
    log, started = folder / "output.log", time.monotonic()
    assert run  # imported, with ending, for the processes that are forked
    assert ending

    def seconds(study: str) -> float:
        begun = time.monotonic()
        code = Child([*words, f"study={study}"], log).wait()
        if code != 0:
            raise SystemExit(f"the undisturbed sweep failed with exit code {code}: see {log}")
        return time.monotonic() - begun

    whole, again = seconds("undisturbed"), seconds("undisturbed")
    print(f"undisturbed: {counts(states_of(folder / 'undisturbed'))} in {whole:.1f} s; again in {again:.1f} s")
    draw = random.Random(arguments.seed)
    kills, during, wrong, rounds = 0, 0, [], 0
    while kills < arguments.kills or rounds == 0:
        rounds += 1
        study = folder / f"killed{rounds}"
        while True:
            child = Child([*words, f"study={study.name}"], log)
            # Long enough to get somewhere, short enough for the kills to fall into one sweep.
            wait = draw.uniform(0, again + 2 * whole / arguments.kills) if kills < arguments.kills else 1e9
            if not child.kill_after(wait):
                break
            kills += 1
            during += _was_at_work(study)
            wrong += torn(study)
        wrong += compare(folder / "undisturbed", study)
        print(f"killed {kills} times so far: {counts(states_of(study))}", flush=True)
    print(f"{kills} kills, {during} of them during a run, over {rounds} sweep{'s' * (rounds > 1)} of {2 * SEEDS} runs")
    print(f"took {time.monotonic() - started:.0f} s")
    if wrong:
        print("\n".join(["NOT THE SAME:", *wrong, f"kept: {folder}"]))
        return 1
    print("no file torn; metrics, summaries and weights identical to the bit")
    shutil.rmtree(folder)
    return 0


def _was_at_work(study: Path) -> bool:
    states: list[State] = states_of(study) if study.exists() else []
    return any(state.status == RUNNING or (state.reason or "").startswith("killed") for state in states)


if __name__ == "__main__":
    sys.exit(main())
