import csv
import json
import re
from pathlib import Path

import pytest
from test_comparison import RECALL, VALUES, known, made

from metriscope.reports.comparison import Comparison, compare
from metriscope.reports.page import write_page
from metriscope.reports.table_formats import as_json, latex, markdown, write_tables
from metriscope.reports.tables import fitting, tables
from metriscope.run.study import Study


@pytest.fixture
def found() -> Comparison:
    return compare(known(), metrics=[RECALL, "test/variance_intra"], baseline={"loss.name": "contrastive"})


def test_cells_say_mean_spread_and_interval(found: Comparison) -> None:
    groups, differences = tables(found)
    assert list(groups.columns) == ["loss.name", "n", RECALL, "test/variance_intra"]
    cells = {row[0].lines[0]: row[2] for row in groups.rows}
    assert list(cells["triplet"].lines) == ["0.8600 ± 0.0158", "[0.8404, 0.8796]"]
    assert (cells["triplet"].bold, cells["contrastive"].bold) == (True, False)
    (recall, _) = differences.rows
    assert [cell.lines[0] for cell in recall][:5] == [RECALL, "triplet", "contrastive", "5", "+0.0500"]


def test_a_tie_is_marked_and_a_single_run_says_so() -> None:
    (table,) = tables(compare(known(close=[0.85, 0.87, 0.86, 0.85, 0.86]), metrics=[RECALL]))
    assert {row[0].lines[0]: row[2].lines[0][0] for row in table.rows} == {
        "close": "≈",
        "contrastive": "0",
        "triplet": "0",
    }
    (table,) = tables(compare(Study("trial", [made(0.5)]), metrics=[RECALL]))
    assert list(table.rows[0][3].lines) == ["0.5000", "n = 1"]


def test_a_run_without_the_metric_is_counted_out() -> None:
    runs = [made({RECALL: 0.5}, seed=0), made({RECALL: 0.7}, seed=1), made({"train/loss": 1.0}, seed=2)]
    runs.append(made({"train/loss": 1.0}, seed=0, loss__name="other"))
    (table,) = tables(compare(Study("trial", runs), metrics=[RECALL]))
    assert {row[0].lines[0]: row[2].lines[0] for row in table.rows} == {
        "other": "-",
        "triplet": "0.6000 ± 0.1414 (n = 2)",
    }


@pytest.mark.parametrize(
    ("value", "shown"), [(0.91234, "0.9123"), (28.7453, "28.75"), (2e-5, "2.000e-05"), (0.0, "0.0000")]
)
def test_figures_keep_four_digits(value: float, shown: str) -> None:
    (table,) = tables(compare(Study("trial", [made({"train/grad_norm": value})]), metrics=["train/grad_norm"]))
    assert table.rows[0][-1].lines[0] == shown


def test_a_narrow_terminal_gets_the_table_in_parts(found: Comparison) -> None:
    table = tables(found)[0]
    assert fitting(table, 1000) == [table]
    parts = fitting(table, 45)
    assert [list(part.columns) for part in parts] == [["loss.name", "n", RECALL], ["loss.name", "test/variance_intra"]]
    assert [bool(part.caption) for part in parts] == [False, True]


def test_csv_holds_the_figures_as_they_are(found: Comparison, tmp_path: Path) -> None:
    paths = write_tables(found, tmp_path, ["csv"])
    assert [path.name for path in paths] == ["comparison.csv", "differences.csv"]
    rows = list(csv.DictReader(paths[0].open()))
    assert len(rows) == 4
    row = next(row for row in rows if row["loss.name"] == "triplet" and row["metric"] == RECALL)
    cell = next(cell for (place, key), cell in found.cells.items() if key == RECALL and place == 1)
    assert (float(row["mean"]), float(row["std"]), row["n"], row["mark"]) == (
        cell.summary.mean,
        cell.summary.std,
        "5",
        "best",
    )
    (difference, _) = csv.DictReader(paths[1].open())
    assert float(difference["difference"]) == pytest.approx(0.05)


def test_json_holds_the_values_behind_the_figures(found: Comparison) -> None:
    content = json.loads(as_json(found))
    assert content["by"] == ["loss.name"]
    assert [group["metrics"][RECALL]["values"] for group in content["groups"]] == list(VALUES.values())
    assert content["differences"][0]["p_t_holm"] < 0.05


def test_markdown_and_latex_are_whole(found: Comparison) -> None:
    text = markdown(found)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in rows[:4]} == {5}
    assert "| **0.8600 ± 0.0158**<br>**[0.8404, 0.8796]** |" in text
    code = latex(found)
    assert code.count("\\toprule") == code.count("\\bottomrule") == 2
    assert "\\textbf{0.8600 $\\pm$ 0.0158}" in code
    assert "test/recall\\_at\\_1" in code
    assert not re.search(r"(?<!\\)_", code)
    assert len(re.findall(r"\\begin\{", code)) == len(re.findall(r"\\end\{", code))


def test_notes_come_first() -> None:
    found = compare(Study("trial", [made()], ["a_b is missing; left out"]))
    assert markdown(found).index("a_b is missing") < markdown(found).index("| n |")
    assert "% note: a_b is missing" in latex(found).split("\\begin")[0]


def test_the_page_needs_no_other_file(found: Comparison, tmp_path: Path) -> None:
    picture = tmp_path / "learning_curves.png"
    picture.write_bytes(b"\x89PNG")
    page = write_page(found, [picture, tmp_path / "learning_curves.svg"], tmp_path / "page.html").read_text()
    assert "<b>0.8600 ± 0.0158<br>[0.8404, 0.8796]</b>" in page
    assert page.count("src='data:image/png;base64,iVBORw==") == page.count("src=") == 1
    assert "http" not in page
