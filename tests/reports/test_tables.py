from io import StringIO

import pytest
from studies import RECALL, known, made

from metriscope.errors import InputError
from metriscope.reports.comparison import Comparison, compare
from metriscope.reports.table_style import Style, Written
from metriscope.reports.tables import Table, fitting, rich_table, tables
from metriscope.run.study import Study


def test_cells_say_mean_spread_and_interval(found: Comparison) -> None:
    groups, differences = tables(found)
    assert list(groups.columns) == ["loss.name", "n", RECALL, "test/variance_intra"]
    cells = {row[0].lines[0]: row[2] for row in groups.rows}
    assert list(cells["triplet"].lines) == ["0.8600 ± 0.0158", "[0.8404, 0.8796]"]
    assert (cells["triplet"].bold, cells["contrastive"].bold) == (True, False)
    (recall, _) = differences.rows
    assert [cell.lines[0] for cell in recall][:5] == [RECALL, "triplet", "contrastive", "5", "+0.0500"]


def test_names_are_those_of_papers(found: Comparison) -> None:
    groups, differences = tables(found, Style())
    assert list(groups.columns) == ["loss", "n", "Recall@1", "intra-class variance"]
    assert [row[0].lines[0] for row in groups.rows] == ["Contrastive", "Triplet"]
    assert [cell.lines[0] for cell in differences.rows[0]][:3] == ["Recall@1", "Triplet", "Contrastive"]
    assert tables(found, Style(names="keys")) == tables(found)


def test_a_tie_is_marked_and_a_single_run_says_so() -> None:
    (table,) = tables(compare(known(close=[0.85, 0.87, 0.86, 0.85, 0.86]), metrics=[RECALL]))
    assert {row[0].lines[0]: row[2].lines[0][0] for row in table.rows} == {
        "close": "≈",
        "contrastive": "0",
        "triplet": "0",
    }
    (table,) = tables(compare(Study("trial", [made(0.5)]), metrics=[RECALL]))
    assert list(table.rows[0][3].lines) == ["0.5000", "n = 1"]
    assert table.rows[0][3][1:] == (False, False), "nothing to be better than"


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


def column(table: Table, heading: str) -> dict[str, list[str]]:
    place = list(table.columns).index(heading)
    return {row[0].lines[0]: list(row[place].lines) for row in table.rows}


def test_shares_in_per_cent_with_digits(found: Comparison) -> None:
    groups, differences = tables(found, Style(percent=True, digits=1, spread="interval"))
    assert column(groups, "Recall@1 (%)") == {"Contrastive": ["81.0 ± 2.0"], "Triplet": ["86.0 ± 2.0"]}
    assert column(groups, "intra-class variance")["Triplet"] == ["0.1 ± 0.0"]
    assert differences.rows[0][4].lines == ["+5.0"]
    assert "half of its 95 % t interval" in groups.caption


def test_figures_that_digits_would_make_zero_are_scientific() -> None:
    study = Study("trial", [made({"train/grad_norm": 2e-5})])
    (table,) = tables(compare(study, metrics=["train/grad_norm"]), Style(digits=2))
    assert table.rows[0][-1].lines[0] == "2.00e-05"


def test_columns_in_the_order_asked_for(found: Comparison) -> None:
    groups, differences = tables(found, Style(columns=["test/variance_intra", "n"]))
    assert list(groups.columns) == ["loss", "intra-class variance", "n"]
    assert [row[0].lines[0] for row in differences.rows] == ["intra-class variance"]
    assert len(tables(found, Style(columns=["n"]))) == 1
    (table,) = tables(found, Style(columns=["n", "dataset.name", "loss.name"]))
    assert list(table.columns) == ["dataset", "loss", "n"]
    assert [cell.lines[0] for cell in table.rows[0]] == ["Digits", "Contrastive", "5"]


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ("recall_at_1", "did you mean 'test/recall_at_1'?"),
        ("seed", "runs of one group differ in it; groups are by loss.name"),
        ("x" * 200, "has this name."),
    ],
)
def test_an_unknown_column_is_one_line(found: Comparison, column: str, said: str) -> None:
    with pytest.raises(InputError) as error:
        tables(found, Style(columns=[column]))
    assert said in str(error.value)


def test_rows_that_would_look_alike_are_refused() -> None:
    runs = [made(0.5, dataset__name=data, loss__name=loss) for data in ("cub", "sop") for loss in ("triplet", "margin")]
    found = compare(Study("trial", runs))
    with pytest.raises(InputError, match=r"columns loss\.name: groups that differ in dataset\.name would look alike"):
        tables(found, Style(columns=["loss.name"]))


@pytest.mark.parametrize("digits", [-1, 13])
def test_digits_have_a_range(digits: int) -> None:
    with pytest.raises(InputError, match="a whole number from 0 to 12"):
        Style(digits=digits)


def test_the_best_is_bold_and_the_second_underlined_with_ties_as_written() -> None:
    qualities = {"triplet": 0.901, "contrastive": 0.9008, "margin": 0.8, "supcon": 0.8001, "circle": 0.7}
    study = Study("trial", [made(value, loss__name=loss) for loss, value in qualities.items()])
    (table,) = tables(compare(study, metrics=[RECALL]), Style(percent=True, digits=1))
    marks = {row[0].lines[0]: (row[-1].bold, row[-1].underlined) for row in table.rows}
    assert marks == {
        "Triplet": (True, False),
        "Contrastive": (True, False),
        "Margin": (False, True),
        "SupCon": (False, True),
        "Circle": (False, False),
    }


def test_the_best_is_of_its_own_data() -> None:
    runs = [
        made(value, dataset__name=data, loss__name=loss)
        for data, values in {"cub": (0.5, 0.4), "sop": (0.8, 0.9)}.items()
        for loss, value in zip(("triplet", "margin"), values, strict=True)
    ]
    (table,) = tables(compare(Study("trial", runs), metrics=[RECALL]), Style())
    best = {(row[0].lines[0], row[1].lines[0]) for row in table.rows if row[-1].bold}
    assert best == {("CUB-200-2011", "Triplet"), ("Stanford Online Products", "Margin")}


def test_groups_without_a_common_metric() -> None:
    runs = [made({RECALL: 0.5}, loss__name="triplet"), made({"test/mrr": 0.5}, loss__name="margin")]
    (table,) = tables(compare(Study("trial", runs), metrics=[RECALL, "test/mrr"]), Style(percent=True, spread="std"))
    assert column(table, "Recall@1 (%)") == {"Margin": ["-"], "Triplet": ["50.00"]}
    assert column(table, "MRR (%)") == {"Margin": ["50.00"], "Triplet": ["-"]}


def test_metrics_of_one_title_are_told_apart() -> None:
    record = {"metrics": {"ours": ("figure", "max"), "theirs": ("figure", "max")}}
    run = made({"test/ours": 0.1, "test/theirs": 0.2}, record=record)
    (table,) = tables(compare(Study("trial", [run])), Style(percent=True))
    assert list(table.columns)[-2:] == ["test/ours", "test/theirs"]


def test_long_names_leave_room_for_figures_on_a_terminal() -> None:
    from rich.console import Console

    runs = [made(0.123456, loss__name=f"[x]{place}" + "name_" * 40) for place in range(2)]
    file = StringIO()
    console = Console(width=80, file=file)
    for part in fitting(tables(compare(Study("trial", runs)))[0], 80):
        console.print(rich_table(part))
    text = file.getvalue()
    assert text.count("0.1235") == 2
    assert "[x]0" in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_narrow_table_has_a_caption_that_can_be_read(found: Comparison) -> None:
    from rich.console import Console

    file = StringIO()
    Console(width=10_000, file=file).print(rich_table(tables(found, Style(columns=["n"]))[0]))
    lines = file.getvalue().splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith("Mean ±"))
    assert len(lines) - start <= 4
    assert max(map(len, lines)) <= 80


def test_two_losses_of_one_title_keep_their_keys() -> None:
    runs = [made(0.1 * i, loss__name=name, seed=i) for i, name in enumerate(["triplet", "Triplet", "arcface"])]
    written = Written(compare(Study("trial", runs), by=["loss.name"]))
    assert [written.method(group) for group in written.comparison.grouping.groups] == ["Triplet", "ArcFace", "triplet"]
