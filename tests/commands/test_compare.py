import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import written
from studies import config, write_run, write_study

from metriscope.cli import run

ROOT = Path(__file__).parents[2]

# What needs neither an account nor the network.
COMMANDS = [
    command
    for command in [*written.lines("metriscope compare"), *written.inline("metriscope (?:compare|wandb-report) ")]
    if "--wandb" not in command and "--log-wandb" not in command
]


def test_commands_are_documented() -> None:
    assert len(COMMANDS) >= 3


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return write_study(tmp_path, {"contrastive": 0.6, "triplet": 0.9}, seeds=3)


def test_tables_are_printed_and_written(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("compare", [str(study), "--baseline", "loss.name=contrastive"]) == 0
    shown = capsys.readouterr().out
    assert "trial: 6 finished runs in 2 groups" in shown
    assert "± " in shown
    assert "p (Wilcoxon)" in shown
    assert "…" not in shown, "a pipe has no width to cut a table for"
    files = sorted(path.name for path in (study / "report").iterdir())
    assert files == ["comparison.csv", "comparison.json", "comparison.md", "comparison.tex", "differences.csv"]
    # The report lies in the study's folder: it is no run of it.
    assert run("compare", [str(study)]) == 0


def test_tables_in_a_style(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--percent", "--digits", "1", "--columns", "loss.name,test/recall_at_8", "--spread", "interval"]
    assert run("compare", [str(study), *words]) == 0
    shown = capsys.readouterr().out
    assert "Recall@8 (%)" in shown
    assert "Recall@1" not in shown
    assert "Contrastive & " in (study / "report" / "comparison.tex").read_text()
    assert "| loss | Recall@8 (%) |" in (study / "report" / "comparison.md").read_text()


def test_everything_at_once(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # With the library of charts the curves would be no picture.
    monkeypatch.setattr("metriscope.reports.page.has_library", lambda: False)
    write_run(config(tmp_path, "dataset=synthetic", seed=8), status="failed")
    words = ["--by", "loss.name,dataset.name", "--metrics", "test/recall_at_1,train/loss", "--format", "json"]
    words += ["--where", "dataset.name=synthetic", "--out", str(tmp_path / "out"), "--html"]
    words += ["--figures", "learning_curves"]
    assert run("compare", [str(study), *words]) == 0
    assert "is not finished (failed: because); left out" in capsys.readouterr().out.splitlines()[0]
    content = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert content["by"] == ["loss.name", "dataset.name"]
    assert content["groups"][0]["metrics"].keys() == {"test/recall_at_1", "train/loss"}
    assert (tmp_path / "out" / "figures" / "learning_curves.svg").is_file()
    assert "data:image/png" in (tmp_path / "out" / "comparison.html").read_text()
    assert not (study / "report").exists()


def test_a_page_is_never_older_than_the_tables_beside_it(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = study / "report" / "comparison.html"
    assert run("compare", [str(study)]) == 0
    assert not page.exists()
    assert run("compare", [str(study), "--html", "--figures", "intervals"]) == 0
    assert "6 runs: 6 finished" in page.read_text()
    write_run(config(study.parent, "dataset=synthetic", seed=8), status="failed")
    assert run("compare", [str(study), "--figures", "intervals"]) == 0
    assert "7 runs: 6 finished, 1 failed" in page.read_text()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device", "comparison.csv")

    monkeypatch.setattr("metriscope.commands.compare.write_tables", full)
    assert run("compare", [str(study)]) == 2
    assert not page.exists(), "a page of an earlier call, with tables that are partly new"


def test_a_file_in_the_place_of_the_figures_is_one_line(study: Path, caplog: pytest.LogCaptureFixture) -> None:
    taken = study / "report" / "figures"
    taken.parent.mkdir()
    taken.touch()
    assert run("compare", [str(study), "--figures"]) == 0
    assert caplog.messages == [f"the figures are left out ({taken}: File exists)"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--by", "loss.nme"], "loss.nme: no run has this key; did you mean 'loss.name'?"),
        (["--metrics", "test/recal_at_1"], "no finished run has this metric; did you mean 'test/recall_at_1'?"),
        (
            ["--baseline", "loss.name=tripet"],
            "baseline loss.name=tripet: no group has this value; did you mean 'triplet'?",
        ),
        (["--where", "loss.name=arcface"], "no run of trial has loss.name=arcface"),
        (["--columns", "loss.nme"], "column loss.nme: no key of the groups and no metric has this name; did you mean "),
        (["--columns", "n,test/recal_at_1"], "did you mean 'test/recall_at_1'?"),
        (["--figures", ""], "no figure ''; there are learning_curves, "),
        (["--format", ","], "no format ''; there are csv, md, tex, json"),
        (["--digits", "13"], "'13' is no whole number from 0 to 12"),
        (["--digits", "9" * 5000], "is no whole number from 0 to 12"),
        (["--digits", "-1"], "'-1' is no whole number from 0 to 12"),
        (["--digits", "two"], "'two' is no whole number from 0 to 12"),
        (["--names", "short"], "invalid choice: 'short'"),
        (["--wandb", "project"], "'project' names no W&B project: give it as entity/project"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    study: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("compare", [str(study), *words]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("metriscope: ")
    assert said in lines[0]


@pytest.mark.parametrize("command", COMMANDS)
def test_documented_commands_run(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    command, *words = shlex.split(command)[1:]
    (study,) = (word.removeprefix("outputs/") for word in words if word.startswith("outputs/"))
    write_study(tmp_path / "outputs", {"contrastive": 0.6, "triplet": 0.9}, seeds=2, study=study)
    assert run(command, words) == 0


@pytest.mark.parametrize("words", [["--format", "pdf"], ["--figures", "heatmap"], ["--baseline", "triplet"]])
def test_options_that_cannot_be_read(study: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("compare", [str(study), *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("metriscope: ")
    assert words[1] in line


def test_an_empty_folder_and_none_at_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("compare", [str(tmp_path)]) == 2
    assert run("compare", [str(tmp_path / "none")]) == 2
    empty, missing = capsys.readouterr().err.splitlines()
    assert "holds no runs" in empty
    assert "no such folder" in missing


def test_folds_and_seeds_are_not_mixed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for fold in (0, 1):
        study = write_study(tmp_path, {"contrastive": 0.6, "triplet": 0.9}, seeds=2, dataset__fold=fold)
    assert run("compare", [str(study), "--by", "loss.name"]) == 2
    assert "would mix the spread over dataset.fold with that over seed" in capsys.readouterr().err
    assert run("compare", [str(study)]) == 0
    assert run("compare", [str(study), "--over", "dataset.fold", "--where", "seed=0"]) == 0
    assert "± standard deviation over dataset.fold".lower() in capsys.readouterr().out.lower()


def test_a_folder_that_cannot_be_written(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert run("compare", [str(study), "--out", str(tmp_path / "file" / "out")]) == 2
    assert "set --out" in capsys.readouterr().err


def test_a_report_that_is_a_link_is_refused(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A study of somebody else may hold links to files of one's own."""
    (tmp_path / "mine").mkdir()
    (study / "report").symlink_to(tmp_path / "mine")
    assert run("compare", [str(study), "--figures", "intervals"]) == 2
    line = f"cannot write {study}/report: it is a link, which could lead to files of somebody else; set --out"
    assert capsys.readouterr().err == f"metriscope: {line}\n"
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "figures").symlink_to(tmp_path / "mine")
    (tmp_path / "out" / "comparison.md").symlink_to(tmp_path / "mine" / "notes.md")
    assert run("compare", [str(study), "--figures", "intervals", "--out", str(tmp_path / "out")]) == 0
    assert list((tmp_path / "mine").iterdir()) == []


def test_tables_need_neither_torch_nor_pictures(study: Path) -> None:
    heavy = ("torch", "pytorch_lightning", "sklearn", "matplotlib", "pandas", "wandb", "hydra")
    call = f"from metriscope.cli import run; run('compare', [{str(study)!r}])"
    code = f"import sys; {call}; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_comparison_becomes_a_run_of_the_study(
    no_account: None, study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import wandb

    started: dict[str, Any] = {}
    logged: dict[str, Any] = {}
    init = wandb.init

    def watched(**options: Any) -> Any:
        started.update(options)
        run = init(**options)
        log = run.log
        run.log = lambda values: (logged.update(values), log(values))
        return run

    monkeypatch.setattr(wandb, "init", watched)
    words = ["--figures", "learning_curves,intervals", "--log-wandb", "--baseline", "loss.name=contrastive"]
    assert run("compare", [str(study), *words]) == 0
    assert "W&B is offline (no API key): wandb sync " in capsys.readouterr().out.splitlines()[-1]
    assert (started["group"], started["job_type"], started["mode"]) == ("trial", "comparison", "offline")
    assert logged.keys() >= {"comparison", "differences", "figures/learning_curves", "figures/intervals"}
    assert logged["comparison"].columns[0] == "loss.name"
    assert list((study / "report" / "wandb").glob("offline-run-*/*.wandb"))


def test_a_report_of_panels_without_network(
    no_account: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("wandb-report", ["outputs/trial", "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "report 'Comparison of trial'" in shown
    assert "lines    val/recall_at_1 over epoch" in shown
    assert "scatter  test/recall_at_1 over test/variance_intra" in shown
    for words, said in [
        ([], "give --wandb entity/project, or --dry-run"),
        (["--wandb", "me"], "'me' names no W&B project"),
        (["--wandb", "me/them"], "no API key for W&B"),
    ]:
        assert run("wandb-report", ["outputs/trial", *words]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert said in line
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    monkeypatch.setitem(sys.modules, "wandb_workspaces.reports.v2", None)
    assert run("wandb-report", ["outputs/trial", "--wandb", "me/them"]) == 2
    assert "pip install wandb-workspaces" in capsys.readouterr().err


def test_the_report_shows_runs_of_the_study_by_loss() -> None:
    pytest.importorskip("wandb_workspaces")
    from metriscope.reports.wandb.report import build_report, sections

    report = build_report("me/them", "trial")
    grids = [block for block in report.blocks if hasattr(block, "panels")]
    assert [len(grid.panels) for grid in grids] == [len(section.panels) for section in sections()]
    assert "trial" in str(grids[0].runsets[0].filters)
    line = grids[1].panels[0]._to_model().config
    assert (line.x_axis, line.metrics) == ("epoch", ["train/loss"])
    assert line.group_by == "loss.name.value"


def test_published_figures_stand_beside(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("compare", [str(study), "--reference", "mlrc"]) == 0
    shown = capsys.readouterr().out
    assert "MAP@R, validation" in shown
    assert "arXiv:2003.08505" in shown
    assert "bn_inception" in shown
    path = tmp_path / "own.csv"
    path.write_text("loss,dataset,metric,value,source\ntriplet,cub,test/map_at_r,0.5,\n")
    assert run("compare", [str(study), "--reference", str(path)]) == 2
    assert f"{path}, row 1: no source" in capsys.readouterr().err
