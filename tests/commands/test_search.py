"""``metriscope search`` and ``metriscope index``: what is printed and written, and what is refused."""

import csv
import json
import re
import shutil

import pytest
from PIL import Image
from served import embedder

from metriscope import cli, load
from metriscope.serving.galleries import save


@pytest.fixture
def call(capsys):
    def go(*words, command="search"):
        code = cli.run(command, [str(word) for word in words])
        shown = capsys.readouterr()
        assert shown.err.count("\n") <= 1, shown.err
        return code, shown.out, shown.err

    return go


@pytest.fixture
def index(served, call, tmp_path):
    path = tmp_path / "photos.index"
    assert call(*served, "-o", path, command="index") == (0, f"{path}: 24 images x 8\n", "")
    return path


def test_a_table_of_neighbours(served, call):
    run, photos = served
    query = photos / "class 1" / "3.png"
    code, out, _ = call(run, query, photos, "-k", 3)
    title, head, *rows = out.splitlines()
    assert (code, title) == (0, str(query))
    assert head.split() == ["rank", "distance", "label", "path"]
    found = load(run).search(query, photos, k=3)
    for rank, row in enumerate(rows):
        number, distance, *_ = row.split()
        assert (number, distance) == (str(rank + 1), f"{float(found.distances[0, rank]):.4f}")
        assert row.endswith(f"{found.paths[0][rank].split('/')[0]}  {found.paths[0][rank]}")
    assert rows[0].endswith("1  class 1  class 1/3.png") or rows[0].endswith("class 1  class 1/3.png")


def test_an_index_answers_as_its_folder(served, call, index, tmp_path):
    run, photos = served
    query = photos / "class 2" / "0.png"
    for gallery, name in [(photos, "a"), (index, "b")]:
        call(run, query, gallery, "--csv", tmp_path / f"{name}.csv", "--json", tmp_path / f"{name}.json")
    assert (tmp_path / "a.csv").read_text() == (tmp_path / "b.csv").read_text()
    rows = list(csv.DictReader((tmp_path / "b.csv").open()))
    known = json.loads((tmp_path / "b.json").read_text())
    assert known["gallery"] == {"root": str(photos), "images": 24}
    (one,) = known["queries"]
    assert one["path"] == str(query)
    assert [row["path"] for row in rows] == [near["path"] for near in one["neighbours"]]
    assert one["neighbours"][0] | {"distance": 0} == {
        "rank": 1,
        "distance": 0,
        "label": "class 2",
        "path": "class 2/0.png",
        "place": 12,
    }
    assert one["neighbours"][0]["distance"] < 1e-6


def test_the_images_of_the_same_folder_are_not_their_own_neighbours(served, call, tmp_path):
    run, photos = served
    target = tmp_path / "x.json"
    assert call(run, photos, f"{photos}/.", "-k", 23, "--json", target)[0] == 0
    found = json.loads(target.read_text())["queries"]
    assert len(found) == 24
    assert all(query["path"] not in [near["path"] for near in query["neighbours"]] for query in found)


def test_a_page_of_pictures_needs_nothing_else_and_escapes_names(served, call, tmp_path, monkeypatch):
    run, photos = served
    gallery = tmp_path / "gallery"
    shutil.copytree(photos, gallery)
    shutil.move(gallery / "class 0" / "0.png", gallery / "class 0" / "<script>alert(1)<'\" &.png")
    gone = gallery / "class 3" / "5.png"
    call(run, gallery, "-o", tmp_path / "x.index", command="index")
    gone.unlink()
    code, out, err = call(run, photos, tmp_path / "x.index", "-k", 24, "--html", tmp_path / "x.html")
    assert (code, err) == (0, "")
    assert out.endswith(f"written: {tmp_path / 'x.html'}\n")
    page = (tmp_path / "x.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;&#x27;&quot; &amp;.png" in page
    assert re.findall(r"""(?:src|href)=['"](?!data:image/jpeg;base64,)""", page) == []
    assert page.count("<div class='row'>") == 24
    assert page.count("<figure") == 24 * 21
    shown = [one for one in page.split("<figure")[1:] if not one.startswith(" class='query'")]
    assert [one for one in shown if "missing</div>" in one] == [one for one in shown if "class 3/5.png<" in one] != []
    assert "queries: 24, 20 neighbours of each" in page
    monkeypatch.setattr("metriscope.serving.page.QUERIES", 3)
    call(run, photos, tmp_path / "x.index", "--html", tmp_path / "x.html")
    page = (tmp_path / "x.html").read_text()
    assert "the first 3 of 24 queries" in page
    assert page.count("<div class='row'>") == 3


def test_what_is_wrong_is_said_in_a_line(served, call, index, tmp_path):
    run, photos = served
    query = photos / "class 1" / "3.png"
    (tmp_path / "empty").mkdir()
    text = tmp_path / "notes.txt"
    text.write_text("no image")
    other = tmp_path / "other.index"
    save(embedder().embed(query), other)
    for words, line in [
        ([run, query, photos, "-k", 0], "argument -k: 0: it has to be a whole number from 1 on"),
        ([run, text, photos], "cannot read the image"),
        ([run, tmp_path / "none.png", photos], "none.png: there is no such file or folder"),
        ([run, query, tmp_path / "none"], "none: there is no such file or folder"),
        ([run, query, tmp_path / "empty"], "holds no image"),
        ([run, query, text], "a file that metriscope index has made"),
        ([run, query, query], "a file that metriscope index has made"),
        ([run, query, other], "other.index was embedded by another model"),
        ([run, query, index, "--html", tmp_path / "none" / "x.html"], "there is no folder"),
        ([tmp_path, query, index], "is no folder of a run"),
    ]:
        code, out, err = call(*words)
        assert (code, out) == (2, "")
        assert line in err


def test_an_index_is_made_once(served, call, index, tmp_path):
    run, photos = served
    assert "done before" in call(run, photos, "-o", index, command="index")[1]
    code, _, err = call(run, photos / "class 1", "-o", index, command="index")
    assert code == 2
    assert "not of this model, precision and these files" in err
    (tmp_path / "link").symlink_to(index)
    assert "is a link" in call(run, photos, "-o", tmp_path / "link", command="index")[2]


def test_unlabelled_images_have_no_column_of_labels(served, call, tmp_path):
    run, photos = served
    Image.new("RGB", (20, 20)).save(tmp_path / "[red].png")
    _, out, _ = call(run, photos / "class 1" / "3.png", tmp_path)
    assert out.splitlines()[1].split() == ["rank", "distance", "path"]
    assert out.splitlines()[2].endswith("  [red].png")
