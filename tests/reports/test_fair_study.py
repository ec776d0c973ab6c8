"""Reading a fair comparison: its files, its trials, and which run is a repeat of which entry."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from fair_studies import let_test, write_fair
from studies import config, write_run

from metriscope.errors import InputError
from metriscope.reports.fair_study import ENTRY, read_fair
from metriscope.run.fair import signed
from metriscope.run.study import load_study

HEAD = "entry,trial,seed,config,params,fold_0,fold_1,fold_2,value,status,steps,seconds\n"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fair(tmp_path_factory.mktemp("fair"), repeats=2)


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "trial"))


def test_definition_trials_and_repeats(written: Path) -> None:
    study = read_fair(written)
    assert study.entries == ["contrastive", "triplet", "triplet/semihard"]
    assert (study.metric, study.tested, study.sign) == ("val/map_at_r", "test/map_at_r", 1)
    assert [len(study.of(entry)) for entry in study.entries] == [12] * 3
    pruned, failed = study.of("triplet")[2:4]
    assert (pruned.status, len(pruned.folds), pruned.value) == ("pruned", 1, None)
    assert (failed.status, failed.folds, failed.steps) == ("failed", (), None)
    assert all(study.best(entry).trial == study.winner(entry)["trial"] for entry in study.entries)
    repeats = [(run.config[ENTRY], run.config["seed"]) for run in study.runs.finished]
    assert sorted(repeats) == [(entry, seed) for entry in sorted(study.entries) for seed in range(2)]
    assert [run.metrics["test/map_at_r"] < 0.5 for run in study.zero_shot.finished] == [True]
    assert study.notes == []


def test_while_it_searches_there_are_no_repeats(tmp_path: Path) -> None:
    study = read_fair(write_fair(tmp_path, closed=False, zero_shot=False))
    assert (study.manifest, study.runs, study.winner("triplet")) == (None, None, None)
    assert "the search is not closed" in study.notes[0]
    assert study.best("triplet") is not None


def test_a_study_without_run_folders_is_its_search(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
    study = read_fair(folder)
    assert study.runs is None
    assert study.notes[0].startswith("no repeats: ")
    assert len(study.trials) == 36


def test_runs_of_others_are_named_and_left_out(folder: Path) -> None:
    other = config(folder.parent, "loss=infonce", "dataset=synthetic", seed=0)
    write_run(other, 0.9)
    untuned = config(folder.parent, "loss=triplet", "dataset=synthetic", seed=0)
    let_test(write_run(untuned, 0.9), read_fair(folder).manifest["hash"])
    study = read_fair(folder)
    assert len(study.runs.runs) == 6
    lines = [line.partition(" ")[2] for line in study.runs.problems]
    assert any("was not let test by the manifest" in line for line in lines)
    assert "is no repeat of any entry of this study; left out" in lines


def test_an_edited_manifest_and_an_edited_ledger_are_refused(folder: Path) -> None:
    with (folder / "ledger.csv").open("a") as file:
        file.write("triplet,12,12,0,{},,,,,failed,,1\n")
    with pytest.raises(InputError, match="is not the ledger of"):
        read_fair(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "repeats": 9}))
    with pytest.raises(InputError, match="was edited"):
        read_fair(folder)


def test_times_enter_no_hash(folder: Path) -> None:
    before = read_fair(folder).digest
    ledger = folder / "ledger.csv"
    text = ledger.read_text()
    ledger.write_text(text.replace(",30.0\n", ",31.5\n"))
    assert ledger.read_text() != text
    assert read_fair(folder).digest == before
    # A manifest of an earlier version holds the digest of the whole file.
    ledger.write_text(text)
    manifest = json.loads((folder / "manifest.json").read_text())
    whole = signed({**manifest, "ledger": hashlib.sha256(ledger.read_bytes()).hexdigest()})
    (folder / "manifest.json").write_text(json.dumps(whole))
    assert read_fair(folder).manifest == whole


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("fair.json", "{}", "fair.json was edited"),
        ("ledger.csv", None, "ledger.csv is not readable"),
        ("ledger.csv", "entry,trial\na,0\n", "ledger.csv is no ledger of 3 folds"),
        ("ledger.csv", f"{HEAD}a,0,{{}}\n", "ledger.csv, line 2 does not read"),
        ("ledger.csv", f"{HEAD}a,0,0,,{{}},x,,,,failed,,1\n", "line 2 does not read"),
        ("ledger.csv", f"{HEAD}a,0,0,,{{}},,,,,odd,,1\n", "line 2 does not read"),
        ("ledger.csv", f"{HEAD}a,0,0,,{{}},1,1,1,nan,complete,4,1\n", "line 2 does not read"),
    ],
)
def test_broken_files_are_one_line(folder: Path, name: str, text: str | None, words: str) -> None:
    (folder / "manifest.json").unlink()
    (folder / name).unlink()
    if text is not None:
        (folder / name).write_text(text)
    with pytest.raises(InputError, match=words) as caught:
        read_fair(folder)
    assert "\n" not in str(caught.value)


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no fair\.json: give the folder of a study by metriscope fair"):
        read_fair(tmp_path)


def test_default_settings_that_are_repeated_are_apart_from_the_winners(tmp_path: Path) -> None:
    study = read_fair(write_fair(tmp_path, ("contrastive", "triplet"), trials=3, repeats=2, untuned=True))
    assert study.runs is not None
    assert study.untuned is not None
    assert len(study.runs.finished) == len(study.untuned.finished) == 4
    assert not study.runs.problems
    means = [sum(run.metrics["test/map_at_r"] for run in one.finished) / 4 for one in (study.runs, study.untuned)]
    won = {study.best(entry).trial for entry in study.entries}  # type: ignore[union-attr]
    assert means[0] > means[1] or won == {0}
    assert read_fair(write_fair(tmp_path / "other", trials=3, repeats=1)).untuned is None


def test_runs_below_a_comparison_are_read_from_above_as_its_manifest_says(tmp_path: Path) -> None:
    folder = write_fair(tmp_path / "both", trials=3, repeats=2)
    found = load_study(tmp_path / "both")
    assert (len(found.runs), list(found.problems)) == (7, [])
    write_run(config(folder.parent, "loss=infonce", "dataset=synthetic", seed=0), 0.9)
    found = load_study(tmp_path / "both")
    assert len(found.runs) == 7
    assert ["was not let test by the manifest" in line for line in found.problems] == [True]
    (folder / "manifest.json").unlink()
    with pytest.raises(InputError, match="holds no readable run"):
        load_study(tmp_path / "both")
