import logging
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from metriscope.evaluation.metric import Metric
from metriscope.tracking import console

METRICS = {
    "train/loss": 0.25,
    "train/grad_norm": 1234.5,
    "val/recall_at_1": 0.9,
    "best/val/recall_at_1": 0.95,
    "best/epoch": 2,
    "test/recall_at_1": 0.94,
    "test/recall_at_2": 0.97,
    "test/recall_at_16": None,
    "test/r_precision": 1e-5,
}


def test_importing_the_console_leaves_torch_alone() -> None:
    code = "import sys, metriscope.tracking.console; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_table_shows_the_figures_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_results(METRICS, Path("outputs/run"), "closed set", epochs=3, seconds=4.2)
    lines = capsys.readouterr().out.strip().splitlines()
    assert lines[0] == "results: closed set, 3 epochs, best epoch 3, 4.2 s"
    assert lines[1].split() == ["train", "val", "(best)", "test"]
    assert [line.split() for line in lines[2:7]] == [
        ["Recall@1", "-", "0.9500", "0.9400"],
        ["Recall@2", "-", "-", "0.9700"],
        ["R-precision", "-", "-", "1e-05"],
        ["gradient", "norm", "1234", "-", "-"],
        ["loss", "0.2500", "-", "-"],
    ]
    assert lines[-1] == "run folder: outputs/run"


def test_a_terminal_gets_the_same_figures_in_a_box(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "is_interactive", lambda: True)
    console.print_results(METRICS, Path("outputs/run"), "closed set")
    shown = capsys.readouterr().out
    assert all(text in shown for text in ("Retrieval", "Recall@1", "0.9500", "val (best)", "outputs/run"))


LONG = METRICS | {
    "val/mrr": 0.8,
    "test/mrr": 0.9,
    "test/queries_skipped": 3.0,
    "test/nmi": 0.7,
    "test/ami": 0.6,
    "test/recall_at_1_trunk": 0.5,
    "test/uniformity_trunk": -2.5,
    "train/grad_norm_trunk": 0.3,
    "test/variance_intra_raw": 0.1,
    **{f"test/recall_at_{k}": 0.99 for k in (4, 8)},
    "test/variance_intra": 0.2,
    "train/loss_decay_rate": 0.125,
}
OWN = [Metric("uniformity", "uniformity " + "of all pairs " * 20, "own", "min", "", headline=True)]


def test_the_table_has_the_trunk_clustering_and_every_metric_that_was_asked_for() -> None:
    rows = {title: (section, values) for section, title, values in console.results_rows(LONG, OWN)}
    assert rows["MRR"] == ("Retrieval", ["", "0.8000", "0.9000"])
    assert rows["queries skipped"] == ("Retrieval", ["", "", "3"])
    assert rows["NMI"] == ("Clustering", ["", "", "0.7000"])
    assert rows["Recall@1 (trunk)"] == ("Retrieval of the trunk", ["", "", "0.5000"])
    assert rows["gradient norm, trunk"] == ("Greediness", ["0.3000", "", ""])
    assert rows[f"{OWN[0].title} (trunk)"] == ("Own of the trunk", ["", "", "-2.5000"])
    assert not any("(raw)" in title or title == "gradient norm (trunk)" for title in rows)


@pytest.mark.parametrize("interactive", [False, True])
def test_a_long_table_has_sections_and_fits_80_columns(
    interactive: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "is_interactive", lambda: interactive)
    monkeypatch.setenv("COLUMNS", "80")
    console.print_results(LONG, Path("outputs/run"), "closed set", own=OWN)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    words = [line.strip() for line in lines]
    assert words.index("Retrieval") < words.index("Clustering") < words.index("Retrieval of the trunk")
    assert any(
        line.split() == (["MRR", "0.8000", "0.9000"] if interactive else ["MRR", "-", "0.8000", "0.9000"])
        for line in lines
    )


def test_nothing_to_report_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_results({}, Path("x"), "closed set")
    assert "run folder: x" in capsys.readouterr().out


def test_the_config_tree_is_for_those_who_watch(capsys: pytest.CaptureFixture[str]) -> None:
    cfg = {"seed": 1, "loss": {"name": "triplet", "margin": 0.2}, "tags": ["[bold]"], "callbacks": {}}
    console.print_config(cfg)
    assert capsys.readouterr().out == ""
    console.print_config(cfg, verbose=True)
    shown = capsys.readouterr().out
    assert all(text in shown for text in ("loss triplet", "margin: 0.2", "[bold]", "seed: 1"))


def test_the_log_file_gets_every_message_and_then_lets_go(tmp_path: Path) -> None:
    own = logging.getLogger("metriscope.anything")
    with console.log_to_file(tmp_path):
        own.debug("inside")
        logging.getLogger("pytorch_lightning.x").warning("from Lightning")
    own.warning("outside")
    text = (tmp_path / "train.log").read_text()
    assert "inside" in text
    assert "from Lightning" in text
    assert "outside" not in text
    assert not logging.getLogger("metriscope").handlers


def test_without_another_set_up_messages_and_warnings_reach_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    with warnings.catch_warnings(), console.log_to_file(tmp_path):
        warnings.simplefilter("always")
        logging.getLogger("metriscope.x").info("hello")
        logging.getLogger("metriscope.x").debug("only in the file")
        warnings.warn("one class\nonly", stacklevel=1)
    assert capsys.readouterr().err == "hello\none class\n"
    assert "only in the file" in (tmp_path / "train.log").read_text()
