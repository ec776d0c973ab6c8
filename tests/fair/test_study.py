"""A fair comparison from end to end, in this process: searched, interrupted, sealed, repeated."""

import json
import shutil

import pytest
from fair_studies import write_fair
from tiny_runs import TINY

import metriscope.fair.search
from metriscope.cli import run
from metriscope.fair.folds import Result
from metriscope.run.fair import DEFINITION, LEDGER, MANIFEST, signed
from metriscope.run.ledger import COMPLETE, FAILED
from metriscope.run.ledger import read as read_ledger
from metriscope.run.record import read_record
from metriscope.run.study import load_study

pytest.importorskip("optuna")

ASKED = (*TINY, "losses=contrastive,triplet/semihard", "folds=2", "repeats=2", "workers=0")


@pytest.fixture
def fair(tmp_path, monkeypatch, capsys, quick_trainer):
    """Runs ``metriscope fair``; returns exit code and what it said."""
    monkeypatch.chdir(tmp_path)

    def go(*words: str):
        code = run("fair", [*ASKED, f"paths.output_dir={tmp_path}", *words])
        return code, capsys.readouterr()

    return go


@pytest.fixture
def pretended(monkeypatch):
    """Trials that train nothing: what they reach is a function of what they set; the calls are counted."""
    calls: list[dict] = []

    def trial(config, folds, goal, best, prune, answer=lambda config: None):
        calls.append(config)
        margin, rate = config["loss"]["margin"], config["optimizer"]["lr_head"]
        values = tuple(1 / (1 + abs(margin - 0.5) + rate + fold / 10) for fold in range(folds))
        return Result(values, sum(values) / folds, COMPLETE, 3, 0.1 * len(calls))

    monkeypatch.setattr(metriscope.fair.search, "trial", trial)
    return calls


def interrupted(monkeypatch, function, *, after: int):
    """Stop at the n-th call of a function of the search, before it does anything."""
    place, name = function
    real, count = getattr(place, name), [0]

    def once(*args, **kwargs):
        count[0] += 1
        if count[0] == after:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    monkeypatch.setattr(place, name, once)


@pytest.mark.processes
def test_losses_are_searched_sealed_and_repeated(fair, tmp_path):
    folder = tmp_path / "fair"
    code, said = fair("trials=2", "prune=null")
    assert (code, said.err) == (0, "")
    assert "2 entries, 4 trials: 0 complete, 4 to do" in said.out
    assert f"{folder}: 4 of 4 repeats finished" in said.out
    page = folder / "report" / "README.md"
    assert said.out.endswith(f"report: {page}\n")
    assert "triplet/semihard" in page.read_text(encoding="utf-8")
    rows = read_ledger(folder, 2)
    assert [(row.entry, row.trial, row.status) for row in rows] == [
        ("contrastive", 0, COMPLETE), ("contrastive", 1, COMPLETE),
        ("triplet/semihard", 0, COMPLETE), ("triplet/semihard", 1, COMPLETE),
    ]  # fmt: skip
    assert rows[0].params == {"loss.margin": 1.0, "loss.positive_margin": 0.0, "optimizer.lr_head": 0.001}
    assert rows[0].seed == rows[2].seed != rows[1].seed
    manifest = json.loads((folder / MANIFEST).read_text())
    found = load_study(folder)
    assert len(found.finished) == 4
    assert not found.problems
    for one in found.runs:
        winner = next(w for w in manifest["winners"] if w["entry"].startswith(one.config["loss.name"]))
        assert one.record.fair == manifest["hash"]
        assert one.config["trainer.max_steps"] == winner["steps"]
        assert one.config["dataset.validation"] == 0
        assert one.config["loss.margin"] == winner["params"]["loss.margin"]
        assert one.record.data["content"] == manifest["data"]
    assert {one.config["seed"] for one in found.runs} == {0, 1}
    assert "models" not in manifest, "the hash is that of studies before there were fold models"
    # Nothing but repeats lies there.
    assert len(list(tmp_path.rglob("run.json"))) == 4
    _, said = fair("trials=2", "prune=null")
    assert "seed" not in said.out
    # A run that was let test goes on from ledger and manifest alone.
    kept = [(folder / name).read_bytes() for name in (DEFINITION, LEDGER, MANIFEST)]
    shutil.rmtree(folder / "synthetic-mlp" / "triplet-semihard")
    code, said = fair("trials=2", "prune=null")
    assert code == 0
    assert "triplet/semihard seed 1" in said.out
    assert "contrastive seed" not in said.out
    assert [(folder / name).read_bytes() for name in (DEFINITION, LEDGER, MANIFEST)] == kept
    assert run("train", [*TINY, f"paths.output_dir={tmp_path}", "study=fair"]) == 2
    assert run("evaluate", [str(next(folder.glob("*/contrastive-all/seed0-*")))]) == 2
    assert run("fair", [*ASKED, f"paths.output_dir={tmp_path}", "trials=3", "prune=null"]) == 2


def test_a_failed_trial_counts_is_shown_and_stays(fair, tmp_path, monkeypatch):
    calls = []

    def trial(config, folds, goal, best, prune):
        calls.append(best)
        if len(calls) == 1:
            return Result((), None, FAILED, None, 0.1, "RunError: loss not finite")
        return Result((0.5, 0.7), 0.6, COMPLETE, 3, 0.1)

    monkeypatch.setattr(metriscope.fair.search, "trial", trial)
    monkeypatch.setattr("metriscope.fair.study.repeat", lambda *args: [])
    code, said = fair("trials=3")
    assert code == 0
    assert "contrastive trial 0: failed: RunError: loss not finite 0.1 s" in said.out
    assert "5 complete, 1 failed" in said.out
    # A later trial is held against the best of its own entry.
    assert calls == [None, None, None, (0.5, 0.7), (0.5, 0.7), (0.5, 0.7)]
    code, said = fair("trials=3")
    assert (code, len(calls)) == (0, 6)
    assert "5 complete, 1 failed" in said.out


def test_an_entry_without_a_complete_trial_has_no_repeats(fair, monkeypatch):
    def trial(config, folds, goal, best, prune):
        return Result((), None, FAILED, None, 0.1, "no")

    monkeypatch.setattr(metriscope.fair.search, "trial", trial)
    code, said = fair("trials=1")
    assert code == 1
    assert "contrastive: none of its trials is complete, so it has no repeats" in said.out
    assert said.err.endswith("no entry has a complete trial, so there is nothing to repeat\n")


def test_another_comparison_is_refused_in_the_same_folder(fair, pretended, tmp_path, monkeypatch):
    monkeypatch.setattr("metriscope.fair.study.repeat", lambda *args: [])
    assert fair("trials=2")[0] == 0
    for word, what in {
        "trials=3": "with trials: 2, and not 3",
        "contrastive:loss.margin=interval(0.5,1.5)": "with space of contrastive",
        "optimizer.lr=0.01": "with words",
        "dataset.data_seed=1": "with words",
        "prune=0.2": "with prune: 0.1, and not 0.2",
        "seed=1": "with seed: 0, and not 1",
    }.items():
        code, said = fair("trials=2", word) if not word.startswith("trials") else fair(word)
        assert (code, said.out) == (2, "")
        assert what in said.err
    with monkeypatch.context() as patch:
        patch.setattr("metriscope.fair.definition.versions", lambda: {"torch": "1.0"})
        code, said = fair("trials=2")
    assert code == 2
    assert "with version of torch" in said.err


def test_an_edited_manifest_or_ledger_is_refused(fair, pretended, tmp_path, monkeypatch):
    monkeypatch.setattr("metriscope.fair.study.repeat", lambda *args: [])
    folder = tmp_path / "fair"
    assert fair("trials=2")[0] == 0
    manifest, ledger = ((folder / name).read_text() for name in (MANIFEST, LEDGER))
    content = json.loads(manifest)
    content["winners"][0]["trial"] = 1 - content["winners"][0]["trial"]
    (folder / MANIFEST).write_text(json.dumps(content))
    assert "manifest.json was edited" in fair("trials=2")[1].err
    (folder / MANIFEST).write_text(json.dumps(signed(content)))
    assert "does not follow from" in fair("trials=2")[1].err
    (folder / MANIFEST).write_text(manifest)
    (folder / LEDGER).write_text(ledger.replace("complete", "pruned", 1))
    assert "is not the ledger of" in fair("trials=2")[1].err
    (folder / MANIFEST).unlink()
    assert "line 2 does not read" in fair("trials=2")[1].err
    (folder / LEDGER).write_text(ledger.replace("contrastive", "angular"))
    assert "is of another study, with entry angular" in fair("trials=2")[1].err
    lines = ledger.splitlines()
    (folder / LEDGER).write_text("\n".join([lines[0], *lines[2:]]) + "\n")
    assert "is of another study, with trial 1 of contrastive" in fair("trials=2")[1].err


@pytest.mark.processes
def test_nothing_is_tested_before_every_search_is_closed(fair, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        interrupted(patch, (metriscope.fair.search, "trial"), after=1)
        code, said = fair("trials=1")
    assert code == 130
    assert said.err.startswith("metriscope: interrupted: the same command goes on")
    folder = tmp_path / "fair"
    for study in ("fair", "fair/below"):
        assert run("train", [*TINY, f"paths.output_dir={tmp_path}", f"study={study}"]) == 2
        assert "still searches, so nothing may be evaluated on its test classes" in capsys.readouterr().err
    assert run("compare", [str(folder)]) == 2
    assert "there are no tested runs to read yet" in capsys.readouterr().err
    assert not list(folder.rglob("run.json"))
    assert run("status", [str(folder)]) == 0
    assert "searching, 2 entries, 2 trials: 0 complete, 2 to do; nothing is tested yet" in capsys.readouterr().out
    # A run that was trained elsewhere, and moved there, is not evaluated in it, nor read as one of its repeats.
    assert run("train", [*TINY, f"paths.output_dir={tmp_path}", "study=other"]) == 0
    shutil.copytree(tmp_path / "other", folder, dirs_exist_ok=True)
    (moved,) = folder.glob("*/*/seed0-*")
    assert run("evaluate", [str(moved)]) == 2
    assert fair("trials=1", "repeats=1")[0] == 2
    assert fair("trials=1")[0] == 0
    found = load_study(folder)
    assert len(found.runs) == 4
    assert [line for line in found.problems if "was not let test by the manifest" in line]
    assert read_record(moved).fair is None


def test_the_report_is_written_again_where_it_is_wanted(tmp_path, capsys):
    study = write_fair(tmp_path, trials=3, repeats=2)
    assert run("fair", ["--report", str(study), "--out", str(tmp_path / "own")]) == 0
    assert capsys.readouterr().out == f"report: {tmp_path / 'own' / 'README.md'}\n"
    for words, said in (
        (["--report", str(study), "trials=3"], "trials=3: --report takes the folder of a comparison, and no words"),
        (["losses=triplet", "--out", str(tmp_path)], "--out is for --report"),
        (["--report", str(tmp_path / "none")], "none"),
    ):
        assert run("fair", words) == 2
        assert said in capsys.readouterr().err


def test_default_settings_are_repeated_where_that_is_asked_for(fair, pretended, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "fair"
    space = ("optimizer.lr_head=0.001", "loss.margin=interval(0.2,0.4)")
    words = ("losses=triplet", "trials=2", "repeats=1", *space, "untuned=true")
    asked = [word for word in ASKED if not word.startswith(("losses", "repeats"))]
    assert run("fair", [*asked, f"paths.output_dir={tmp_path}", *words]) == 0
    said = capsys.readouterr().out
    assert "triplet seed 0" in said
    assert "triplet untuned seed 0" in said
    assert f"{folder}: 2 of 2 repeats finished" in said
    manifest = json.loads((folder / MANIFEST).read_text())
    assert [(one["entry"], one["trial"]) for one in manifest["untuned"]] == [("triplet", 0)]
    assert manifest["winners"][0]["trial"] == 1
    found = load_study(folder)
    assert [(one.record.fair, one.config["trainer.max_steps"]) for one in found.finished] == [(manifest["hash"], 3)] * 2
    assert {one.config["loss.margin"] for one in found.runs} > {0.2}
    assert "## The default settings" in (folder / "report" / "README.md").read_text(encoding="utf-8")
    # The same comparison without them is another one, and so is any other setting.
    assert run("fair", [*asked, f"paths.output_dir={tmp_path}", *words[:-1]]) == 2
    assert "with untuned: True, and not False" in capsys.readouterr().err
    repeat = ["dataset.validation=0", "++trainer.max_steps=3", "++evaluation.metrics.pair_auc=true"]
    for margin in ("0.2", "0.3"):
        own = [*TINY, *repeat, "++evaluation.per_query=true", f"loss.margin={margin}", "optimizer.lr_head=0.001"]
        code = run("train", [*own, "loss=triplet", f"paths.output_dir={tmp_path}", "study=fair"])
        assert code == (0 if margin == "0.2" else 2)
    assert "this run is none of its repeats" in capsys.readouterr().err
