import csv
import json
import re
from pathlib import Path

import pytest
from studies import RECALL, VALUES, made

from metriscope.reports.comparison import Comparison, compare
from metriscope.reports.latex import latex
from metriscope.reports.table_formats import as_json, markdown, write_tables
from metriscope.reports.table_style import Style
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


def test_csv_in_a_style(found: Comparison, tmp_path: Path) -> None:
    style = Style(percent=True, digits=1, columns=["loss.name", RECALL], names="titles")
    groups, differences = (list(csv.DictReader(path.open())) for path in write_tables(found, tmp_path, ["csv"], style))
    assert [(row["loss"], row["metric"], row["mean"]) for row in groups] == [
        ("Contrastive", "Recall@1 (%)", "81.0"),
        ("Triplet", "Recall@1 (%)", "86.0"),
    ]
    assert [(row["metric"], row["group"], row["difference"]) for row in differences] == [
        ("Recall@1 (%)", "Triplet", "5.0")
    ]


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
    assert "\\textbf{0.8600 $\\pm$ 0.0196}" in code
    assert "\\underline{0.8100 $\\pm$ 0.0196}" in code
    assert "test/recall\\_at\\_1" in latex(found, Style(names="keys"))
    assert not re.search(r"(?<!\\)_", code)
    assert len(re.findall(r"\\begin\{", code)) == len(re.findall(r"\\end\{", code))


def test_notes_come_first() -> None:
    found = compare(Study("trial", [made()], ["a_b is missing; left out"]))
    assert markdown(found).index("a_b is missing") < markdown(found).index("| n |")
    assert "% note: a_b is missing" in latex(found).split("\\begin")[0]


def test_latex_can_be_pasted() -> None:
    """Every row has as many cells as there are columns, and no text of a run is a command."""
    nasty = "[a_b] 50% & $x$ \\cmd {c} #1 ~^ | <é>…"
    study = Study(
        "trial", [made(v, loss__name=n, seed=s) for n in (nasty, "supcon") for s, v in enumerate((0.5, 0.25))]
    )
    code = latex(compare(study, metrics=[RECALL], baseline={"loss.name": "supcon"}), Style(percent=True, digits=1))
    assert code.count("\\begin{tabular}{lrr}") == 1
    assert code.count("\\begin{tabular}") == code.count("\\end{tabular}") == 2
    assert "\n    {}[a\\_b] 50\\% \\& \\$x\\$ \\textbackslash{}cmd \\{c\\} \\#1 " in code
    head, row, _ = (line for line in code.splitlines() if line.endswith("\\\\") and line.count(" & ") == 2)
    assert head.strip() == "loss & n & Recall@1 (\\%) \\\\"
    assert "37.5 $\\pm$ " in row
    assert "needs XeLaTeX" not in code
    assert "needs XeLaTeX" in latex(compare(Study("trial", [made(0.5, loss__name="損失")]), by=["loss.name"]))


def test_small_and_negative_figures_in_latex() -> None:
    runs = [made({"train/grad_norm": 2e-5, "train/loss_decay_rate": -0.25})]
    code = latex(compare(Study("trial", runs), metrics=["train/grad_norm", "train/loss_decay_rate"]))
    assert "$2.000 \\times 10^{-5}$ & $-$0.2500" in code


def test_markdown_underlines_the_second_best(found: Comparison) -> None:
    text = markdown(found, Style(percent=True, digits=1, spread="std"))
    assert "| Contrastive | 5 | <u>81.0 ± 1.6</u> |" in text
    assert "| Triplet | 5 | **86.0 ± 1.6** |" in text
