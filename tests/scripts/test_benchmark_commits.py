"""The code of two checkouts is compared in turns, and only where it computes the same. Times are never asserted."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import comb
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks import losses_by_commit, turns
from benchmarks.loss_side import Case


class _Here(turns.Side):
    """A side that computes in this process."""

    def __init__(self) -> None:
        pass

    def ask(self, *request: object) -> object:
        name, *arguments = request
        if name == "case":
            self.case = Case(*arguments)  # type: ignore[arg-type]
            return None
        return getattr(self.case, str(name))(*arguments)


@contextmanager
def _in_this_process(root: Path, command: Sequence[str]) -> Iterator[turns.Side]:
    assert root == turns.ROOT
    assert command == ["-m", "benchmarks.loss_side"]
    yield _Here()


def test_losses_of_two_checkouts_are_compared(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(losses_by_commit, "started", _in_this_process)
    monkeypatch.setattr(losses_by_commit, "PARTS", ((("circle", "triplet, all"), (512,), 21),))
    losses_by_commit.run(quick=True, against=str(turns.ROOT))
    rows = capsys.readouterr().out.splitlines()[4:]
    assert [row.split("  ")[0] for row in rows] == ["circle", "circle", "triplet, all", "triplet, all"]
    assert all(row.split()[-8] == "0e+00" for row in rows)
    assert all(row.split()[-1] == "3" for row in rows)


def test_every_loss_is_compared_once() -> None:
    named = [name for names, *_ in losses_by_commit.PARTS for name in names]
    assert len(named) == len(set(named))
    assert set(named) <= losses_by_commit.WORDS.keys()
    assert not {"margin, sampled", "contrastive, histogram", "arcface"} & set(named)


class _Fixed(turns.Side):
    """A side whose gradient is off by a share of its largest entry that depends on the dtype."""

    def __init__(self, off: dict[torch.dtype, float]) -> None:
        self.off = off

    def ask(self, *request: object) -> tuple[np.ndarray, np.ndarray]:
        (_, dtype) = request
        assert isinstance(dtype, torch.dtype)
        gradient = torch.eye(2, dtype=dtype)
        gradient[0, 1] += self.off[dtype]
        return np.array(1.0), gradient.numpy()


@pytest.mark.parametrize(("single", "double", "agree"), [(0.0, 1.0, True), (1e-2, 0.0, True), (1e-2, 1e-8, False)])
def test_float64_decides_where_float32_differs(single: float, double: float, agree: bool) -> None:
    here = _Fixed({torch.float32: single, torch.float64: double})
    there = _Fixed({torch.float32: 0.0, torch.float64: 0.0})
    if agree:
        assert losses_by_commit.agreement(here, there, "any").gradient == pytest.approx(single)
    else:
        with pytest.raises(AssertionError, match=r"any: .*exceeds"):
            losses_by_commit.agreement(here, there, "any")


def test_a_process_that_ends_early_is_quoted() -> None:
    command = ["-c", "print('no such loss')"]
    with turns.started(turns.ROOT, command) as side, pytest.raises(SystemExit, match="no such loss"):
        side.answer()


def test_each_side_begins_every_other_pair() -> None:
    order = ""

    def runs(name: str, seconds: float) -> float:
        nonlocal order
        order += name
        return seconds

    assert turns.in_turns(lambda: runs("h", 1), lambda: runs("t", 2), 4) == [(1, 2)] * 4
    assert order == "htthhtth"


@pytest.mark.parametrize("count", [6, 7, 21, 40])
def test_the_interval_of_a_median_is_the_narrowest_that_is_sure_enough(count: int) -> None:
    low, high = turns.median_interval(count)
    # The median is outside if no more than ``low`` of the values are on one side of it.
    chances = [1 - 2 * sum(comb(count, k) for k in range(outside + 1)) / 2**count for outside in (low, low + 1)]
    assert chances[0] >= 0.95 > chances[1]
    assert low + high == count - 1


def test_few_values_have_their_whole_range_as_interval() -> None:
    assert turns.Median.of([3, 1, 2]) == (2, 1, 3)
