"""Published figures: what a file has to hold, and how its rows stand beside those of a study."""

from pathlib import Path

import pytest
from studies import made

from metriscope.errors import InputError
from metriscope.reports.comparison import compare
from metriscope.reports.references import at_hand, read_references, reference_tables
from metriscope.reports.table_style import Written
from metriscope.run.study import Study

HEAD = "loss,dataset,metric,value,source,untuned,trunk,batch,temper\n"


def own(tmp_path: Path, *rows: str, head: str = HEAD) -> Path:
    path = tmp_path / "own.csv"
    path.write_text(head + "".join(f"{row}\n" for row in rows))
    return path


def shown(published, dataset="cub", losses=("contrastive", "arcface"), **others) -> list[list[list[str]]]:
    facts = {"dataset__name": dataset, "backbone__name": "resnet50", **others}
    runs = [
        made({"val/map_at_r": 0.1, "best/val/map_at_r": 0.2 + 0.02 * s}, loss__name=loss, seed=s, **facts)
        for loss in losses
        for s in range(2)
    ]
    methods = at_hand(Written(compare(Study("trial", runs), ["loss.name"], ["val/map_at_r"])), ["val/map_at_r"])
    return [[[cell.lines[0] for cell in row] for row in table.rows] for table in reference_tables(published, methods)]


def test_the_shipped_figures_are_those_of_validation_and_have_sources() -> None:
    rows = read_references("mlrc")
    assert len(rows) == 13 * 4 + 1
    assert {one.metric for one in rows} == {"val/map_at_r"}
    assert all("2003.08505" in one.source and one.protocol["trunk"] == "bn_inception" for one in rows)
    found = {(one.published_as, one.dataset, one.protocol["batch"]): (one.value, one.untuned) for one in rows}
    assert found["contrastive", "cub", "32"] == (0.437, 0.349)
    assert found["SoftTriple", "sop", "32"] == (0.417, 0.085)
    assert found["multi-similarity + miner", "cars196", "32"] == (0.233, 0.213)
    assert found["FastAP", "cub", "256"] == (0.447, None)


def test_rows_of_the_losses_and_data_at_hand_with_what_differs() -> None:
    rows, apart = shown(read_references("mlrc"))
    assert len(rows) == 4
    assert rows[0][:5] == ["CUB-200-2011", "contrastive", "MAP@R, validation", "0.437", "0.349"]
    assert rows[0][5:7] == ["Contrastive", "0.2100 ± 0.014 (n = 2)"]
    letters = {row[-1] for row in rows}
    assert letters == {row[0] for row in apart} == {"a", "b"}
    first = {row[1]: row[2:] for row in apart if row[0] == "a"}
    assert first["trunk"] == ["bn_inception", "resnet50"]
    assert first["optimizer"] == ["rmsprop", "adam"]
    assert first["folds"] == ["4", "-"]
    assert "data set" not in first
    assert "miner" not in first


@pytest.mark.parametrize(
    ("trunk", "said"),
    [((True, False), None), ((False, True), None), ((False, False), "trained")],
)
def test_a_frozen_trunk_takes_its_batch_norm_along(trunk: tuple[bool, bool], said: str | None) -> None:
    facts = {"backbone__freeze": trunk[0], "backbone__freeze_batch_norm": trunk[1]}
    apart = {row[1]: row[3] for row in shown(read_references("mlrc"), **facts)[1]}
    assert apart.get("batch norm") == said


def test_other_data_and_losses_say_so(tmp_path: Path) -> None:
    path = own(tmp_path, "contrastive,cub,test/map_at_r,0.5,me,,mlp,112,", "triplet,sop,test/map_at_r,0.25,me,,,,hot")
    rows, apart = shown(read_references(str(path)), dataset="digits", losses=("contrastive",))
    assert [row[3:] for row in rows] == [["0.5", "-", "Contrastive", "-", "a"]]
    assert ["a", "data set", "cub", "digits"] in apart
    rows, apart = shown(read_references(str(path)), dataset="digits", losses=("nca",))
    assert [row[5] for row in rows] == ["-", "-"]
    assert ["b", "temper", "hot", "-"] in apart


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("triplet,cub,test/map_at_r,0.5,,,,,", "row 2: no source"),
        ("triplet,cub,test/map_at_r,high,me,,,,", "row 2: value 'high' is no finite number"),
        ("triplet,cub,test/map_at_r,nan,me,,,,", "row 2: value 'nan' is no finite number"),
        ("triplet,,test/map_at_r,0.5,me,,,,", "row 2: dataset is empty"),
        ("triplet,cub,test/map_at_r,0.5,me,x,,,", "row 2: untuned 'x'"),
        ("triplet,cub,test/map_at_r,0.5,me,,,,,,", "row 2: more cells than columns"),
        ("triplet,cub", "row 2: no source"),
    ],
)
def test_rows_that_are_refused(tmp_path: Path, row: str, words: str) -> None:
    path = own(tmp_path, "triplet,cub,test/map_at_r,0.5,me,,,,", row)
    with pytest.raises(InputError, match=words) as caught:
        read_references(str(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'mlrc'"):
        read_references("mlcr")
    with pytest.raises(InputError, match="no column 'source'"):
        read_references(str(own(tmp_path, "triplet,cub,m,1", head="loss,dataset,metric,value\n")))
    with pytest.raises(InputError, match="no rows"):
        read_references(str(own(tmp_path)))
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read as CSV"):
        read_references(str(tmp_path / "bytes.csv"))
