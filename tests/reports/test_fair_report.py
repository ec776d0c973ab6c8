"""The page of a fair comparison, and the files beside it."""

import csv
import json
import shutil
from pathlib import Path

import pytest
from fair_studies import write_fair

from metriscope.errors import InputError
from metriscope.reports.fair_report import write_fair_report
from metriscope.run.fair import signed


@pytest.fixture(autouse=True)
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are made, and their files are empty: drawing takes seconds, and other tests look at it."""

    def save(figure: object, path: Path) -> Path:
        path.touch()
        return path

    monkeypatch.setattr("metriscope.reports.style.save", save)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_report_of_a_whole_study(tmp_path: Path) -> None:
    folder = write_fair(tmp_path, repeats=5, dataset="cars196")
    page = write_fair_report(folder)
    assert page == folder / "report" / "README.md"
    text = page.read_text()
    manifest = json.loads((folder / "manifest.json").read_text())
    assert f"manifest: `{manifest['hash']}`" in text
    assert f"ledger (SHA-256): `{manifest['ledger']}`" in text
    heads = [line for line in text.splitlines() if line.startswith("## ")]
    assert heads == [
        "## Results on test classes", "## Differences in MAP@R", "## The price of tuning",
        "## What won, and which parameters matter", "## Variance and greediness of the tuned losses", "## Checks",
        "## Published figures", "## Time", "## Conditions",
    ]  # fmt: skip
    assert "The trunk without training (zero-shot)" in text
    assert "MAP@R, validation" in text
    assert "| a | trials | 50 | 12 |" in text
    figures = {path.name for path in (page.parent / "figures").glob("*.png")}
    wanted = {"expected_best.png", "critical_difference.png", "intervals.png", "recall_against_variance.png"}
    assert figures == wanted
    assert all(f"(figures/{name})" in text for name in wanted)
    assert len(rows(page.parent / "expected_best.csv")) == 36
    assert [row["first"] for row in rows(page.parent / "pairs.csv")] == ["contrastive", "contrastive", "triplet"]
    assert rows(page.parent / "pairs.csv")[0]["queries"] == "40"
    assert {row["parameter"] for row in rows(page.parent / "importances.csv")} == {"loss.margin", "optimizer.lr_head"}
    assert [row["pruned"] for row in rows(page.parent / "search.csv")] == ["1"] * 3


def test_too_few_repeats_and_no_queries_are_one_line(tmp_path: Path) -> None:
    folder = write_fair(tmp_path, ("contrastive", "triplet"), repeats=1, per_query=False, zero_shot=False)
    text = write_fair_report(folder, tmp_path / "out").read_text()
    assert "Too few repeats for an interval: 1, and 2 are needed." in text
    assert "No test over queries" in text
    assert "mlrc has no figures of synthetic." in text
    assert (tmp_path / "out" / "figures" / "expected_best.svg").is_file()
    assert not (folder / "report").exists()


def test_a_search_that_goes_on(tmp_path: Path) -> None:
    text = write_fair_report(write_fair(tmp_path, closed=False, zero_shot=False)).read_text()
    assert "manifest: `none: the search is not closed`" in text
    assert "## The price of tuning" in text
    assert "## Results on test classes" not in text


def test_names_of_others_are_no_markup(tmp_path: Path) -> None:
    folder = write_fair(tmp_path, ("triplet",), closed=False, zero_shot=False)
    odd = "<b>[x](y)|"
    definition = json.loads((folder / "fair.json").read_text())
    definition["entries"][0]["name"] = odd
    (folder / "fair.json").write_text(json.dumps(signed(definition)))
    ledger = folder / "ledger.csv"
    ledger.write_text(ledger.read_text().replace("triplet,", f"{odd},"))
    text = write_fair_report(folder).read_text()
    assert "&lt;b>[x\\](y)\\|" in text
    assert "<b>" not in text


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="metriscope fair"):
        write_fair_report(tmp_path)
    folder = write_fair(tmp_path, ("triplet",), closed=False, zero_shot=False)
    shutil.rmtree(folder)
    with pytest.raises(InputError, match="metriscope fair"):
        write_fair_report(folder)
