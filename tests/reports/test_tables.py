import pytest
from studies import RECALL, known, made

from metriscope.reports.comparison import Comparison, compare
from metriscope.reports.tables import fitting, tables
from metriscope.run.study import Study


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
