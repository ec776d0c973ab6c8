"""Losses by this code and by that of another commit: agreement first, then time in turns."""

from math import ceil
from statistics import median

import torch
from loss_compare import checkout
from torch import Tensor

from benchmarks.comparing import LAYOUTS, TOLERANCE, Agreement
from benchmarks.contests import BANDS, CONTESTS, DRAWN, LISTS, PAIRS, SMOOTH
from benchmarks.loss_side import Arrays
from benchmarks.table import Table
from benchmarks.turns import ROOT, Median, Side, in_turns, started

MAIN = (
    "supcon",
    "infonce",
    "multi_similarity",
    "contrastive, squared",
    "circle",
    "triplet, all",
    "triplet, semi-hard",
)
WORDS = {name: contest.overrides for name, contest in CONTESTS.items()}
WORDS["decoupled_contrastive"] = ("loss=decoupled_contrastive", "miner=all")
# Two codes may draw in another order: such losses cannot be compared.
FURTHER = tuple(
    name
    for name in (*(BANDS | LISTS | PAIRS | SMOOTH), "decoupled_contrastive")
    if name not in MAIN and not (name in CONTESTS and CONTESTS[name].differs == DRAWN)
)
# Names, batch sizes, and pairs of turns; of seven pairs the interval of 95 % is that from the least to the greatest.
PARTS = ((MAIN, (512, 2048, 4096), 21), (FURTHER, (512, 2048), 7))
TURN = 0.025
"""Seconds that a turn lasts at least."""


def run(quick: bool, against: str) -> None:
    """Print the median ratio of each loss's step time, the other code over this one, with its 95 % interval."""
    print(f"float32, 128 dimensions; a step from embeddings to their gradient, by this checkout and by {against}")
    print("ratio: median of there / here; above 1 this checkout is faster")
    columns = [("loss", 26), ("classes", 11), ("batch", 5), ("agrees", 6), ("ms here", 8), ("ms there", 8)]
    table = Table([*columns, ("ratio", 7), ("95 % interval", 16), ("pairs", 5)], names=2)
    command = ["-m", "benchmarks.loss_side"]
    with checkout(against) as other, started(ROOT, command) as here, started(other, command) as there:
        for names, batches, pairs in PARTS:
            for name in names:
                for layout in LAYOUTS:
                    for size in (32,) if quick else batches:
                        _row(table, here, there, (name, size, layout), 3 if quick else pairs, 0 if quick else TURN)


def _row(table: Table, here: Side, there: Side, case: tuple[str, int, str], pairs: int, turn: float) -> None:
    name, size, layout = case
    for side in (here, there):
        side.ask("case", WORDS[name], size, layout)
    found = agreement(here, there, name)
    once = [side.ask("seconds", 1) for side in (here, there)]
    repeats = max(1, ceil(turn / min(once)))
    turns = in_turns(lambda: here.ask("seconds", repeats), lambda: there.ask("seconds", repeats), pairs)
    ratio = Median.of([theirs / ours for ours, theirs in turns])
    times = [f"{median(taken) / repeats * 1000:.2f}" for taken in zip(*turns, strict=True)]
    interval = f"{ratio.low:.3f} to {ratio.high:.3f}"
    table.row([name, layout, str(size), f"{max(found):.0e}", *times, f"{ratio.value:.3f}", interval, str(pairs)])


def agreement(here: Side, there: Side, name: str, dtype: torch.dtype = torch.float32) -> Agreement:
    """How far value and gradient of both sides differ on their present case.

    Where float32 differs by more than ``TOLERANCE``, float64 decides.

    Raises:
        AssertionError: float64 differs by more than ``TOLERANCE``, too.
    """
    found = Agreement.of(*(_tensors(side.ask("result", dtype)) for side in (here, there)))
    if not found.within(dtype):
        if dtype == torch.float64:
            raise AssertionError(f"{name}: {found} exceeds {TOLERANCE[dtype]}")
        agreement(here, there, name, torch.float64)
    return found


def _tensors(result: Arrays) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(result[0]), torch.from_numpy(result[1])
