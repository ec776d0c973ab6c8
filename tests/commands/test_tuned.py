"""``metriscope reproduce ... tuned=true``: what is compared on each data set, what is reported, what is refused."""

import json
import re
import shutil

import pytest
from fair_studies import write_fair

from metriscope.cli import run
from metriscope.commands import tuned
from metriscope.reports.experiments import EXPERIMENTS

pytest.importorskip("optuna")

PAPER = "contrastive_vs_triplet"
PLACE = f"{PAPER}-tuned-laptop"


@pytest.fixture
def reproduce(tmp_path, capsys):
    """Runs the command on data that come with a package; returns exit code, output and errors."""

    def go(*words: str, name: str = PAPER):
        places = [f"paths.data_dir={tmp_path / 'none'}", f"paths.output_dir={tmp_path}"]
        code = run("reproduce", [name, "scale=laptop", *places, *words])
        return code, *capsys.readouterr()

    return go


@pytest.fixture
def compared(tmp_path, monkeypatch):
    """Comparisons that train nothing: their files are written as if they had; what was asked is kept."""
    asked: list = []

    def compare(one):
        asked.append(one)
        study = next(word for word in one.aside if word.startswith("study=")).partition("=")[2]
        made = write_fair(tmp_path / "made", ("contrastive", "triplet"), trials=4, repeats=3, untuned=True)
        shutil.move(made, tmp_path / study)
        return True

    monkeypatch.setattr("metriscope.fair.study.compare", compare)
    # Those of any study: others test them.
    monkeypatch.setattr("metriscope.reports.study_figures.write_figures", lambda *args: [])
    return asked


def test_claims_are_decided_on_winners_and_on_default_settings(reproduce, compared, tmp_path):
    code, out, err = reproduce("tuned=true", "trials=4", "repeats=3", "workers=0")
    assert (code, err) == (0, "")
    assert "claim 3: tuned does not hold, untuned does not hold: Triplet retrieves" in out
    (asked,) = compared
    assert [entry.name for entry in asked.entries] == ["contrastive", "triplet"]
    assert (asked.trials, asked.folds, asked.repeats, asked.workers, asked.untuned) == (4, 3, 3, 0, True)
    assert asked.fixed == ("experiment=paper/contrastive_vs_triplet", "dataset=synthetic", "scale=laptop")
    assert f"study={PLACE}/synthetic" in asked.aside
    report = tmp_path / PLACE / "report"
    page = (report / "README.md").read_text(encoding="utf-8")
    manifest = json.loads((tmp_path / PLACE / "synthetic" / "manifest.json").read_text())
    assert manifest["hash"] in page.partition("## Claims")[0]
    assert "metriscope reproduce contrastive_vs_triplet tuned=true scale=laptop trials=4 repeats=3" in page
    assert "MNIST is not at hand" in page
    (row,) = re.findall(r"^\| triplet has the higher Recall@1.*$", page, re.MULTILINE)
    assert row.split(" | ")[1:3] == ["synthetic", "**does not hold**"]
    assert re.findall(r"\*\* \| (-0.0[345])\d+ \| \[", row)
    assert row.count("**does not hold**") == 2
    assert "| contrastive | optimizer.lr_head | tag(log,interval(1e-05,0.1)) |" in page
    for path in re.findall(r"!\[.*?\]\((.*?)\)", page):
        assert (report / path).is_file()
    claims = json.loads((report / "claims.json").read_text())
    assert [len(claims[setting]) for setting in ("tuned", "untuned")] == [3, 3]
    for setting, level in (("tuned", 0.8), ("untuned", 0.7)):
        finding = claims[setting][2]["findings"][0]
        assert finding["difference"]["n"] == 3
        assert {"contrastive", "triplet"} == {name.split("/")[2].partition("-")[0] for name in finding["runs"]}
        table = json.loads((report / "retrieval" / "comparison.json").read_text())
        (group,) = [one for one in table["groups"] if {setting, "contrastive"} <= set(one["values"].values())]
        assert group["metrics"]["test/recall_at_1"]["mean"] == pytest.approx(level, abs=0.03)
    assert len((report / "runs.csv").read_text().splitlines()) == 13
    assert (report / "search" / "synthetic" / "ledger.csv").is_file()
    expected = (report / "expected_best.csv").read_text().splitlines()
    assert expected[0] == "data,entry,trials,expected_best"
    assert len(expected) == 9
    # The report is written again without training, and says what has not finished.
    shutil.rmtree(next((tmp_path / PLACE / "synthetic").glob("*/triplet-*/seed0-*")))
    code, out, err = reproduce("tuned=true", "--report-only", "--out", str(tmp_path / "own"))
    assert (code, err, len(compared)) == (0, "", 1)
    assert "of 6" in (tmp_path / "own" / "README.md").read_text(encoding="utf-8").partition("## Claims")[0]


def test_a_report_alone_needs_a_study_that_was_tested(reproduce, tmp_path):
    code, _, err = reproduce("tuned=true", "--report-only")
    assert code == 2
    assert "nothing to report on: synthetic: not begun; left out; the same command without --report-only" in err
    (tmp_path / PLACE).mkdir()
    shutil.move(write_fair(tmp_path, closed=False), tmp_path / PLACE / "synthetic")
    code, _, err = reproduce("tuned=true", "--report-only")
    assert code == 2
    assert "searching, 3 entries" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "words", "said"),
    [
        ("temperature", ["tuned=true"], "it sweeps dataset.label_noise, loss.temperature"),
        ("small_batches", ["tuned=true"], "it sweeps sampler.batch_size, loss, so there is no search"),
        (PAPER, ["tuned=yes"], "tuned=yes: it has to be true or false"),
        (PAPER, ["trials=3"], "trials=3 is for tuned=true"),
        (PAPER, ["tuned=true", "loss.margin=0.1,0.2"], "give one value, or a range to search, as in 'loss.margin="),
        (PAPER, ["tuned=true", "seed=range(5)"], "seed=range(5): give repeats=N in its place"),
        (PAPER, ["tuned=true", "dataset=mnist"], "dataset is the experiment's own"),
        (PAPER, ["tuned=true", "losses=triplet"], "losses is the experiment's own"),
        (PAPER, ["tuned=true", "study=other"], "leave it out; for another place set paths.output_dir"),
        (PAPER, ["tuned=true", "trials=0"], "trials=0: it has to be a whole number of at least 1"),
        (PAPER, ["tuned=true", "hydra/launcher=joblib"], "give the number of processes as workers="),
        (PAPER, ["tuned=true", "scale=huge"], "scale=huge: no such choice"),
    ],
)
def test_what_cannot_be_tuned_is_refused(reproduce, name, words, said):
    code, _, err = reproduce(*words, name=name)
    assert code == 2
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("words", [[], ["--report-only"]], ids=["compare", "report"])
def test_files_that_do_not_fit_advise_what_this_command_takes(reproduce, tmp_path, words):
    folder = tmp_path / PLACE / "synthetic"
    folder.mkdir(parents=True)
    (folder / "fair.json").write_text("{}")
    code, _, err = reproduce("tuned=true", *words)
    assert code == 2
    assert err.endswith("not that of its content: restore it, or set another paths.output_dir\n")


def test_without_optuna_there_is_no_search(reproduce, monkeypatch):
    monkeypatch.setattr(tuned.importlib.util, "find_spec", lambda name: None)
    assert "tuned=true needs a package: pip install optuna" in reproduce("tuned=true")[2]


def test_a_data_set_takes_its_short_words_and_the_command_line_wins(tmp_path):
    for folder in ("MNIST/raw", "cifar10-jpg", "stanford_cars"):
        (tmp_path / folder).mkdir(parents=True)
    words = ["dataset.train_share=0.05", "scale=laptop"]
    found = dict(tuned._asked(EXPERIMENTS[PAPER], [], words, "place", tmp_path, laptop=True))
    assert {choice for choice, one in found.items() if one} == {"synthetic", "mnist", "cifar10_jpg", "cars196"}
    assert "trainer.limit_train_batches=10" in found["mnist"].fixed
    assert "dataset.train_share=0.05" in found["mnist"].fixed
    assert "dataset.train_share=0.1" not in found["mnist"].fixed
    assert "dataset.image_size=64" in found["cifar10_jpg"].fixed
    assert "dataset.verify=false" in found["cars196"].fixed
    assert "study=place/cars196" in found["cars196"].aside
    assert (found["mnist"].trials, found["mnist"].folds, found["mnist"].repeats) == (10, 3, 5)
    full = dict(tuned._asked(EXPERIMENTS[PAPER], [], [], "place", tmp_path, laptop=False))
    assert full["mnist"].fixed == ("experiment=paper/contrastive_vs_triplet", "dataset=mnist")


@pytest.mark.slow
def test_a_tuned_study_from_nothing(reproduce, tmp_path):
    short = ("dataset.per_class=40", "trainer.max_epochs=4", "trainer.limit_train_batches=2", "trainer=cpu")
    words = ("tuned=true", "trials=2", "folds=2", "repeats=2", "workers=0", "sampler.batch_size=50", *short)
    assert reproduce(*words)[0] == 0
    claims = json.loads((tmp_path / PLACE / "report" / "claims.json").read_text())
    for setting in ("tuned", "untuned"):
        assert all(one["difference"]["n"] == 2 for claim in claims[setting] for one in claim["findings"])
