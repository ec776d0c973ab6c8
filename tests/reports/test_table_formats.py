import csv
import json
import re
from pathlib import Path

import pytest
from studies import RECALL, VALUES, made

from metriscope.reports.comparison import Comparison, compare
from metriscope.reports.table_formats import as_json, latex, markdown, write_tables
from metriscope.run.study import Study


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
