"""Inject faults at named points of a run, give its command again, and compare with a run that nobody disturbed.

python scripts/fault_test.py
python scripts/fault_test.py --quick
python scripts/fault_test.py --points after-last amid-test --losses memory

A point is a function that is patched in the process of the first command: see scripts/faults/points.py. What the run
leaves in the end must be equal to the bit: every entry of both checkpoints, the history, the summary and the
embeddings. A signal, a full disk or a folder that vanished may end the first command; the command given again has to
finish. A checkpoint with a flipped bit may be refused in one line that names it: then it is deleted. Exits with 1 if
anything differs, or if a point cannot be reached. The heavy imports are made once and every command is forked.
"""

import argparse
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import matplotlib.figure
import torch
from faults.points import POINTS, QUICK, Missing, Point, by_name
from faults.runs import LOSSES, Bench
from faults.strikes import FLIP_BEST, FLIP_LAST, FULL, KILL, TEAR, TERM, VANISH, flip, folder_below, strike_of, tear
from faults.traces import Traces, differences, traces
from kill_test import torn

from metriscope import ending
from metriscope.build import run
from metriscope.files import drafts
from metriscope.run.record import FINISHED, read_record

# What the first command may exit with; a signal may come too late.
ALLOWED = {KILL: {-9}, TERM: {130, 0}, FULL: {1, 2}, VANISH: {0, 1, 2}}
ALLOWED |= {fault: {-9} for fault in (FLIP_LAST, FLIP_BEST, TEAR)}
FLIPPED = {FLIP_LAST: "last.ckpt", FLIP_BEST: "best.ckpt"}


@dataclass
class Case:
    """What became of one fault, in the columns of the table."""

    point: str
    fault: str
    loss: str
    first: str = ""
    state: str = ""
    again: str = ""
    equal: str = ""
    wrong: list[str] = field(default_factory=list)

    @property
    def cells(self) -> tuple[str, ...]:
        return self.point, self.fault, self.loss, self.first, self.state, self.again, self.equal


HEADER = ("point", "fault", "loss", "first", "state", "again", "equal")
WIDTHS = (25, 10, 8, 6, 12, 8)


def line(cells: tuple[str, ...]) -> str:
    return " ".join(cell.ljust(width) for cell, width in zip(cells, (*WIDTHS, 0), strict=True)).rstrip()


def undisturbed(bench: Bench, loss: str, needs: str) -> Traces:
    """What a run leaves that nobody disturbs."""
    shutil.rmtree(bench.outputs, ignore_errors=True)
    ended = bench.command(bench.words(loss, needs))
    if ended.code != 0:
        raise SystemExit(f"the undisturbed run of {loss} failed with exit code {ended.code}:\n{ended.errors}")
    return traces(folder_below(bench.outputs))


def judge(bench: Bench, point: Point, fault: str, loss: str, wanted: Traces) -> Case:
    """Disturb a run, give its command again, and compare."""
    case = Case(point.name, fault, loss)
    shutil.rmtree(bench.outputs, ignore_errors=True)
    bench.flag.unlink(missing_ok=True)
    try:
        words = bench.words(loss, point.needs)
        _disturb(bench, words, point, fault, case)
        _again(bench, words, fault, case)
        _compare(folder_below(bench.outputs), wanted, case)
    except Exception as error:  # whatever a reader makes of a broken file
        case.wrong.append(f"{type(error).__name__}: {error}")
    return case


def _disturb(bench: Bench, words: list[str], point: Point, fault: str, case: Case) -> None:
    """Give the command for the first time, and strike."""
    if point.resumed:
        (killed,) = by_name(["after-last"])
        bench.command(words, partial(killed.patch, strike_of(KILL, bench.outputs), bench.flag))
        bench.flag.unlink()
    first = bench.command(words, partial(point.patch, strike_of(fault, bench.outputs), bench.flag))
    case.first, case.state = str(first.code), _state(bench)
    if not bench.flag.exists():
        case.wrong.append(f"the point is not reached: {point.function} is no longer called as it was")
    # A worker of the run, and not the run itself, gets the signal; figures that fail are left out.
    allowed = {"workers": {0, 1}, "figures": ALLOWED[fault] | {0}}.get(point.needs, ALLOWED[fault])
    if first.code not in allowed:
        case.wrong.append(f"the first command exits with {first.code}")
    if first.code in (1, 2, 130) and not first.in_one_line:
        case.wrong.append(f"the first command does not say it in one line: {first.last_line}")
    case.wrong += torn(bench.outputs)
    if fault in FLIPPED:
        flip(folder_below(bench.outputs) / "checkpoints" / FLIPPED[fault])
    if fault == TEAR:
        tear(folder_below(bench.outputs) / "metrics.csv")


def _again(bench: Bench, words: list[str], fault: str, case: Case) -> None:
    """Give the command again; a refused checkpoint is deleted, and the command given once more."""
    again = bench.command(words)
    case.again = str(again.code)
    if fault in FLIPPED and again.code in (1, 2):
        if not again.in_one_line or FLIPPED[fault] not in again.errors:
            case.wrong.append(f"the refusal does not name the checkpoint: {again.last_line}")
        (folder_below(bench.outputs) / "checkpoints" / FLIPPED[fault]).unlink(missing_ok=True)
        again = bench.command(words)
        case.again += f", {again.code}"
    if again.code != 0:
        case.wrong.append(f"the command given again exits with {again.code}: {again.last_line}")
    if (state := _state(bench)) != FINISHED:
        case.wrong.append(f"in the end it is {state}")


def _compare(folder: Path, wanted: Traces, case: Case) -> None:
    """Compare what the run has left in the end."""
    case.wrong += [f"{draft}: left behind" for draft in drafts(folder)]
    found = traces(folder)
    different = {name: list(differences(content, found[name])) for name, content in wanted.items()}
    case.equal = " ".join(name for name in different if not different[name]) if any(different.values()) else "all"
    case.wrong += [f"{name} differs: {', '.join(places[:6])}" for name, places in different.items() if places]


def _state(bench: Bench) -> str:
    try:
        record = read_record(folder_below(bench.outputs))
    except ValueError:
        return "no folder"
    return record.status if record else "no record"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [point.name for point in POINTS]
    parser.add_argument("--points", nargs="+", metavar="POINT", help=f"of {', '.join(names)} (default: all)")
    parser.add_argument("--losses", nargs="+", choices=LOSSES, help="default: all")
    parser.add_argument("--faults", nargs="+", choices=ALLOWED, help="default: all")
    parser.add_argument("--quick", action="store_true", help="a few points, one loss")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    assert run  # imported, like the next, for the commands that are forked
    assert matplotlib.figure
    try:
        points = by_name(arguments.points or (QUICK if arguments.quick else names))
        for point in POINTS:
            point.owner()
    except Missing as error:
        print(error)
        return 1
    losses = arguments.losses or (["memory"] if arguments.quick else list(LOSSES))
    folder, started = Path(tempfile.mkdtemp(prefix="fault-test-")), time.monotonic()
    bench, wanted, cases = Bench(folder), {}, []
    print(f"of {Path(ending.__file__).parent}", line(HEADER), sep="\n", flush=True)
    for loss in losses:
        for point in points:
            for fault in point.faults:
                if arguments.faults and fault not in arguments.faults:
                    continue
                if (key := (loss, point.needs)) not in wanted:
                    wanted[key] = undisturbed(bench, *key)
                case = judge(bench, point, fault, loss, wanted[key])
                cases.append(case)
                print("\n".join([line(case.cells), *(f"  WRONG: {one[:300]}" for one in case.wrong)]), flush=True)
    wrong = sum(bool(case.wrong) for case in cases)
    print(f"{len(cases)} faults at {len(points)} points, {wrong} of them wrong; {time.monotonic() - started:.0f} s")
    shutil.rmtree(folder)
    return 1 if wrong or not cases else 0


if __name__ == "__main__":
    sys.exit(main())
