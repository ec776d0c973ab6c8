"""``scripts/gpu_check.py`` on a CPU: every section runs, and goes on where another fails."""

import json
import sys
from types import SimpleNamespace

import gpu_check
import pytest
import torch
from gpu_checks import losses, parts, rows

from metriscope.errors import InputError


@pytest.fixture(autouse=True)
def bare(monkeypatch):
    """As where wandb is not installed; the environment of the other tests stays."""
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.setattr(gpu_check.environment, "prepare", lambda: None)


@pytest.mark.processes
def test_every_section_on_a_cpu(tmp_path, capsys):
    out = tmp_path / "gpu.json"
    assert gpu_check.main(["--device", "cpu", "--quick", "--out", str(out)]) == 0
    printed, found = capsys.readouterr().out, json.loads(out.read_text())
    assert {row["section"] for row in found["rows"]} == set(gpu_check.SECTIONS)
    assert all(row["ok"] is not False and row["case"] in printed for row in found["rows"])
    assert found["quick"]


def test_a_section_that_fails_is_a_line(tmp_path, monkeypatch, capsys):
    def failing(device, quick):
        yield rows.Row("first")
        raise RuntimeError("two\nlines")

    def other(device, quick):
        yield rows.Row("second", ok=True)

    for name, work in (("failing", failing), ("other", other)):
        monkeypatch.setitem(sys.modules, f"gpu_checks.{name}", SimpleNamespace(run=work))
    monkeypatch.setattr(gpu_check, "SECTIONS", {"a": ("failing", "fails"), "b": ("other", "goes on")})
    out = tmp_path / "gpu.json"
    assert gpu_check.main(["--device", "cpu", "--out", str(out)]) == 1
    found = [(row["section"], row["case"], row["ok"], row["note"]) for row in json.loads(out.read_text())["rows"]]
    assert found == [
        ("a", "first", None, ""),
        ("a", "the section fails", False, "RuntimeError: two lines"),
        ("b", "second", True, ""),
    ]
    assert "the section fails" in capsys.readouterr().out
    # A time that is over ends a section after the line at hand.
    assert gpu_check.main(["--device", "cpu", "--out", str(out), "--minutes", "0", "--only", "b"]) == 0
    assert [row["case"] for row in json.loads(out.read_text())["rows"]] == ["second", "the rest is left out"]


def test_sides_agree_and_full_memory_is_a_cell():
    z, labels = parts.batch(48, 8, per_class=4)
    for sides in losses.LOSSES.values():
        one, other = (losses._step(side, z, labels) for side in sides.values())
        assert rows.apart(one, other) < 1e-9

    def full(z, labels):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    row = losses._row("case", torch.device("cpu"), full, z, labels, z)
    assert (row.note, row.ok) == (rows.MEMORY, None)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_no_gpu_is_one_line():
    with pytest.raises(InputError, match="torch sees no GPU here; give --device cpu"):
        gpu_check.main(["--device", "cuda"])
