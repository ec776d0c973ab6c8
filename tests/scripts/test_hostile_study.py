from pathlib import Path

import hostile_study
import pytest


@pytest.mark.parametrize(
    ("code", "output", "said"),
    [
        (0, "all is well\n", "ok"),
        (0, "note: a is not readable; left out\n", "1 line"),
        (2, "metriscope: a: no such folder.\n", "1 line"),
        (1, "Traceback (most recent call last):\n", "TRACEBACK"),
        (-11, "", "TRACEBACK"),
        (None, "", "HANGS"),
    ],
)
def test_how_a_command_ended(code: int | None, output: str, said: str) -> None:
    assert hostile_study.Ended(code, output, 0.0, 0).said == said


def test_a_command_runs_in_a_process_of_its_own(tmp_path: Path) -> None:
    ended = hostile_study.attempt("status", [str(tmp_path / "none")], tmp_path / "log")
    assert (ended.code, ended.said) == (2, "1 line")
    assert "no such folder" in ended.output
