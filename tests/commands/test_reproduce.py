import json
import os
import re
import shlex
import signal
from pathlib import Path

import pytest
import written
from studies import config, write_run

from metriscope.cli import run
from metriscope.commands import reproduce
from metriscope.reports.experiments import EXPERIMENTS

ROOT = Path(__file__).parents[2]

PAPER = "contrastive_vs_triplet"
EXPERIMENT = "experiment=paper/contrastive_vs_triplet"


@pytest.fixture
def study(tmp_path):
    """Finished runs of both losses on two data sets: triplet is better on both, and keeps more variance.

    An evaluation among them is no run of the paper.
    """
    for dataset in ("synthetic", "digits"):
        for loss, quality, variance in (("contrastive", 0.6, 0.1), ("triplet", 0.62, 0.3)):
            for seed in range(3):
                words = EXPERIMENT, "scale=laptop", f"loss={loss}", f"dataset={dataset}"
                made = config(tmp_path, *words, seed=seed, study=f"{PAPER}-laptop")
                final = {"test/variance_intra": variance + seed / 1000, "test/variance_inter": variance - seed / 1000}
                write_run(made, quality + seed / 1e4, epochs=6, final=final)
    write_run({**made, "evaluates": "digits-small_cnn/triplet-all/12345678"}, 0.1, epochs=6)
    return tmp_path / f"{PAPER}-laptop"


def report(tmp_path, *words):
    return run("reproduce", [PAPER, "scale=laptop", f"paths.output_dir={tmp_path}", "--report-only", *words])


def test_a_report_has_tables_figures_and_verdicts(study, tmp_path, capsys):
    assert report(tmp_path, f"paths.data_dir={tmp_path / 'none'}") == 0
    shown = capsys.readouterr().out
    assert "claim 1: holds: Triplet keeps more" in shown
    assert "reproduce: MNIST is not at hand: no " in shown
    page = (study / "report" / "README.md").read_text()
    for heading in ("Claim 1 (arXiv:2510.02161): holds", "## Variance", "## Greediness", "## Retrieval", "## Figures"):
        assert heading in page
    assert "MNIST is not at hand" in page
    assert "closed set" in page
    for path in re.findall(r"!\[.*?\]\((.*?)\)", page):
        assert (study / "report" / path).is_file()
    claims = json.loads((study / "report" / "claims.json").read_text())
    finding = claims[0]["findings"][0]
    assert (finding["verdict"], finding["difference"]["n"], len(finding["runs"])) == ("holds", 3, 6)
    assert finding["difference"]["mean"] == pytest.approx(0.2)
    runs = (study / "report" / "runs.csv").read_text().splitlines()
    assert runs[0].startswith("run,dataset.name,loss.name,seed,test/variance_intra,")
    assert len(runs) == 13
    assert "12 runs, " in page
    for table in ("variance", "greediness", "classification", "retrieval"):
        assert sorted(path.suffix for path in (study / "report" / table).glob("comparison.*")) == [
            ".csv", ".json", ".md", ".tex",
        ]  # fmt: skip


def test_sigterm_reaches_the_sweep(monkeypatch):
    class Sweep:
        """Told to stop while it is waited for."""

        code = None

        def __init__(self, command):
            assert command[1:5] == ["-m", "metriscope", "train", "-m"]

        def terminate(self):
            self.code = 130

        def wait(self):
            os.kill(os.getpid(), signal.SIGINT)
            assert self.code is None, "a terminal tells it by itself"
            os.kill(os.getpid(), signal.SIGTERM)
            return self.code

    monkeypatch.setattr("subprocess.Popen", Sweep)
    with pytest.raises(KeyboardInterrupt, match="the same command goes on"):
        reproduce._train(["loss=triplet"])


def test_what_is_refused(tmp_path, capsys):
    assert report(tmp_path, "dataset=mnist") == 2
    assert "dataset is the experiment's own" in capsys.readouterr().err
    assert run("reproduce", ["temperature", "loss.temperature=0.3"]) == 2
    assert "loss.temperature is the experiment's own" in capsys.readouterr().err
    assert report(tmp_path, "scale=huge") == 2
    assert "scale=huge: no such choice" in capsys.readouterr().err
    assert report(tmp_path) == 2
    assert "no such folder" in capsys.readouterr().err


def test_data_sets_that_take_the_same_words_are_one_sweep(tmp_path):
    for folder in ("MNIST/raw", "cifar10-jpg"):
        (tmp_path / folder).mkdir(parents=True)
    sweeps, missing = reproduce.plan(EXPERIMENTS[PAPER], tmp_path, laptop=True)
    losses = "loss=contrastive,triplet"
    assert sweeps == [[losses, "dataset=synthetic,mnist"], [losses, "dataset=cifar10_jpg", "backbone=small_cnn"]]
    assert [line.split(" is ")[0] for line in missing] == ["FashionMNIST", "CUB-200-2011", "CARS196"]
    sweeps, _ = reproduce.plan(EXPERIMENTS[PAPER], tmp_path, laptop=False)
    assert sweeps == [[losses, "dataset=synthetic,mnist,cifar10_jpg"]]
    (sweep,), _ = reproduce.plan(EXPERIMENTS["variance_greediness"], tmp_path, laptop=False)
    assert len(sweep[0].split(",")) == 7


def test_every_sweep_of_an_experiment_is_run_and_the_command_line_wins(monkeypatch, tmp_path):
    trained = []
    monkeypatch.setattr(reproduce, "_train", lambda words: trained.append(words) or 0)
    (tmp_path / "stanford_cars").mkdir()
    words = ["scale=laptop", "trainer.max_epochs=2", f"paths.data_dir={tmp_path}", f"paths.output_dir={tmp_path}"]
    assert run("reproduce", ["label_noise", *words]) == 2, "there is nothing to report on"
    assert len(trained) == 4
    for sweep in trained:
        assert sum(word.startswith("trainer.max_epochs=") for word in sweep) == 1
        assert {"trainer.max_epochs=2", "dataset=cars196", "dataset.verify=false", "seed=range(5)"} <= set(sweep)
    assert {"weighting=dbpm", "weighting.hard=3,1", "dataset.label_noise=0.2"} <= set(trained[1])


def test_documented_commands_know_their_arguments():
    lines = written.lines("metriscope reproduce")
    assert lines
    for line in lines:
        assert reproduce._parser().parse_args(shlex.split(line)[2:]).experiment in EXPERIMENTS


@pytest.mark.slow
def test_a_study_from_nothing(tmp_path):
    words = [f"paths.data_dir={tmp_path / 'none'}", f"paths.output_dir={tmp_path}", "scale=laptop", "seed=0,1"]
    short = ["trainer.max_epochs=3", "trainer.limit_train_batches=2", "logger=files", "logger.figures=false"]
    assert run("reproduce", [PAPER, *words, *short]) == 0
    claims = json.loads((tmp_path / f"{PAPER}-laptop" / "report" / "claims.json").read_text())
    assert {finding["data"] for claim in claims for finding in claim["findings"]} == {"synthetic"}
    assert all(finding["difference"]["n"] == 2 for claim in claims for finding in claim["findings"])
