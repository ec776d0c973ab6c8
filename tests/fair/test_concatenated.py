"""Repeats that train a model for each fold: scored one by one, and as one embedding."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_runs import TINY

import metriscope.fair.search
from metriscope.cli import run
from metriscope.config.evaluates import CONCATENATED, EVALUATES
from metriscope.fair.concatenated import concatenation
from metriscope.fair.folds import Result
from metriscope.reports.fair_models import SEPARATED, WAY, scored
from metriscope.reports.fair_study import read_fair
from metriscope.run.ledger import COMPLETE

pytest.importorskip("optuna")

ASKED = (*TINY, "losses=contrastive", "trials=1", "folds=2", "repeats=2", "workers=0", "models=folds")


@pytest.fixture
def fair(tmp_path, monkeypatch, capsys, quick_trainer):
    """Runs ``metriscope fair`` with a search that trains nothing; returns exit code and what it said."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(metriscope.fair.search, "trial", lambda *args: Result((0.5, 0.7), 0.6, COMPLETE, 3, 0.1))
    # Drawing takes seconds, and other tests look at it.
    monkeypatch.setattr("metriscope.reports.style.save", lambda figure, path: path)

    def go(*words: str):
        return run("fair", [*ASKED, f"paths.output_dir={tmp_path}", *words]), capsys.readouterr()

    return go


def map_at_r(z: np.ndarray, labels: np.ndarray) -> float:
    """By the definition, query by query."""
    found = []
    for query in range(len(z)):
        others = [place for place in np.argsort(-(z @ z[query]), kind="stable") if place != query]
        hits = labels[others] == labels[query]
        r = hits.sum()
        found.append(sum(hits[: k + 1].mean() for k in range(r) if hits[k]) / r)
    return float(np.mean(found))


@pytest.mark.processes
def test_models_of_folds_are_scored_one_by_one_and_as_one(fair, tmp_path):
    code, said = fair()
    assert (code, said.err) == (0, "")
    folder = tmp_path / "fair"
    assert f"{folder}: 2 of 2 repeats finished" in said.out
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["models"] == "folds"
    study = read_fair(folder)
    assert (len(study.runs.finished), study.runs.problems) == (6, [])
    for model in study.runs.finished:
        assert model.config["trainer.max_steps"] == 3
        assert "best/epoch" not in model.metrics, "nothing is selected on the fold left out"
    ways = {way: {r.config["seed"]: r for r in found.finished} for way, found in scored(study).items()}
    assert list(ways) == [SEPARATED, CONCATENATED]
    for seed in (0, 1):
        models = [
            one for one in study.runs.finished if one.config["seed"] == seed and not one.config.get(EVALUATES)
        ]  # fmt: skip
        assert sorted(one.config["dataset.fold"] for one in models) == [0, 1]
        alone = [one.metrics["test/map_at_r"] for one in models]
        assert ways[SEPARATED][seed].metrics["test/map_at_r"] == pytest.approx(sum(alone) / 2, abs=1e-12)
        saved = [np.load(one.folder / "embeddings.npz") for one in models]
        parts = [one["embeddings"] / np.linalg.norm(one["embeddings"], axis=1, keepdims=True) for one in saved]
        whole = np.concatenate(parts, axis=1) / np.sqrt(2)
        figures = ways[CONCATENATED][seed].metrics
        assert figures["test/map_at_r"] == pytest.approx(map_at_r(whole, saved[0]["labels"]), abs=1e-6)
        with (ways[CONCATENATED][seed].folder / "per_query.csv").open(newline="") as file:
            precisions = [float(row["average_precision"]) for row in csv.DictReader(file)]
        assert np.mean(precisions) == pytest.approx(figures["test/map_at_r"], abs=1e-6)
    assert {run.config[WAY] for own in ways.values() for run in own.values()} == {SEPARATED, CONCATENATED}
    page = (folder / "report" / "README.md").read_text()
    assert "| contrastive | concatenated | 2 |" in page
    assert "| contrastive | separated | 2 |" in page
    assert "2 repeats of 2 models, each without one fold" in page
    # Given again, only what is missing is made anew, and it is the same.
    kept = {path: path.read_text() for path in folder.rglob("summary.json")}
    shutil.rmtree(folder / "synthetic-mlp" / "contrastive-all-concatenated")
    gone = next(path for path in sorted((folder / "synthetic-mlp" / "contrastive-all").iterdir()))
    (gone / "embeddings.npz").unlink()
    code, said = fair()
    assert code == 0
    assert sum(" fold " in line for line in said.out.splitlines()) == 1
    assert sum(" concatenated: " in line for line in said.out.splitlines()) == 2
    assert {path: path.read_text() for path in kept} == kept
    assert json.loads((folder / "manifest.json").read_text()) == manifest
    # Another kind of repeats is another study, and no model is let test outside of them.
    code, said = fair("dataset.classes=6")
    assert code == 2
    assert run("fair", [*ASKED[:-1], f"paths.output_dir={tmp_path}"]) == 2
    assert run("train", [*TINY, f"paths.output_dir={tmp_path}", "study=fair", "dataset.fold=0"]) == 2


def test_a_model_that_fails_leaves_its_repeat_out(fair, tmp_path, monkeypatch):
    from metriscope.fair import repeats

    real = repeats.trained
    fails = [True]

    def trained(words):
        return "RunError: no" if "++dataset.fold=1" in words and "seed=1" in words and fails else real(words)

    monkeypatch.setattr(repeats, "trained", trained)
    code, said = fair()
    assert code == 1
    assert "contrastive seed 1 fold 1 failed: RunError: no" in said.out
    assert "1 of 2 repeats finished" in said.out
    assert [len(one.finished) for one in scored(read_fair(tmp_path / "fair")).values()] == [1, 1]
    fails.clear()
    code, said = fair()
    assert (code, "2 of 2 repeats finished" in said.out) == (0, True)


def test_every_part_counts_alike():
    torch.manual_seed(0)
    first, second = torch.randn(5, 3), 100 * torch.randn(5, 4)
    whole = concatenation([first, second])
    assert whole.shape == (5, 7)
    assert torch.allclose(whole.norm(dim=1), torch.ones(5))
    assert torch.allclose(whole[:, :3].norm(dim=1), whole[:, 3:].norm(dim=1))


def test_distractors_are_refused(fair, tmp_path):
    (tmp_path / "others").mkdir()
    code, said = fair(f"evaluation.distractors={tmp_path / 'others'}")
    assert code == 2
    assert "models=folds keeps no embeddings of distractors" in said.err
    assert not list(Path(tmp_path).rglob("fair.json"))
