import json
import re
from base64 import b64encode
from dataclasses import replace
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from studies import RECALL, known, made, write_run, write_study
from studies import config as config_of

from metriscope.reports.comparison import Comparison, compare
from metriscope.reports.embedded import confused, embedded_groups, shared_queries
from metriscope.reports.html import bundle, facts, images
from metriscope.reports.html.images import Pictures, images_of
from metriscope.reports.html.series import series
from metriscope.reports.page import html_table, write_page
from metriscope.reports.table_style import Style, Written
from metriscope.reports.tables import Shown, Table
from metriscope.run.study import Study, load_study

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\u202e\x1b[31m"


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library in name only: the page is made as with a true one, but much faster."""
    monkeypatch.setattr("metriscope.reports.page.has_library", lambda: True)
    monkeypatch.setattr("metriscope.reports.page.library", lambda: "/* library */")


@pytest.fixture
def no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metriscope.reports.page.has_library", lambda: False)


def content_of(page: str) -> Any:
    """What the script of a page reads."""
    (found,) = re.findall(r"<script type='application/json' id='content'>(.*?)</script>", page, re.DOTALL)
    return json.loads(found)


def saved(folder: Path, classes: list[str] | None = None, **changes: Any) -> None:
    """Embeddings of six classes of five samples each, of which the last class lies within the first."""
    noise = np.random.default_rng(0).normal(size=(30, 4)) * 0.01
    labels = np.repeat(np.arange(6), 5)
    centres = np.eye(6, 4)[labels]
    centres[labels == 5] = np.eye(6, 4)[0]
    arrays = {"embeddings": (centres + noise).astype(np.float32), "labels": labels}
    arrays["classes"] = np.array(classes or list("abcdef"))
    np.savez(folder / "embeddings.npz", **{**arrays, **changes})


def test_without_the_library_the_page_has_pictures_and_says_so(
    found: Comparison, no_library: None, tmp_path: Path
) -> None:
    picture = tmp_path / "learning_curves.png"
    picture.write_bytes(b"\x89PNG")
    page = write_page(found, [picture, tmp_path / "learning_curves.svg"], tmp_path / "page.html").read_text()
    assert "<b>0.8600 ± 0.0158<br>[0.8404, 0.8796]</b>" in page
    assert "<u>0.8100 ± 0.0158<br>[0.7904, 0.8296]</u>" in page
    assert page.count("src='data:image/png;base64,iVBORw==") == page.count("src='") == 1
    assert "http" not in page.replace("http-equiv", "")
    assert "pip install &#x27;metriscope[report]&#x27; gives charts" in page
    assert "data-chart=" not in page.partition("<script")[0]


def test_charts_take_the_place_of_pictures(found: Comparison, library: None, tmp_path: Path) -> None:
    pictures = [tmp_path / f"{name}.png" for name in ("intervals", "critical_difference")]
    for picture in pictures:
        picture.write_bytes(b"\x89PNG")
    page = write_page(found, pictures, tmp_path / "page.html").read_text()
    assert re.findall("<img alt='(.*?)'", page) == ["critical difference"]
    content = content_of(page)
    assert len(content["charts"]) == page.count("<div data-chart=")
    (scatter,) = [one for one in content["charts"] if len(one["rows"]) == 10]
    assert {content["groups"][row["g"]] for row in scatter["rows"]} == {"Contrastive", "Triplet"}
    assert {content["runs"][row["r"]] for row in scatter["rows"]} == {run.name for run in found.study.runs}
    assert "metriscope[report]" not in page


def test_a_browser_runs_the_scripts_of_the_package_alone(found: Comparison, library: None, tmp_path: Path) -> None:
    page = write_page(found, [], tmp_path / "page.html").read_text()
    (policy,) = re.findall('Content-Security-Policy" content="(.*?)"', page)
    scripts = re.findall("<script>(.*?)</script>", page, re.DOTALL)
    assert len(scripts) == 2
    for script in scripts:
        assert b64encode(sha256(script.encode()).digest()).decode() in policy
    assert policy.startswith("default-src 'none'; img-src data:; ")
    assert "unsafe-eval" not in policy
    assert page.count("<script") == 3


@pytest.mark.parametrize("seeds", [1, 2, 4])
def test_of_few_runs_the_runs_are_drawn_and_no_band(seeds: int, library: None, tmp_path: Path) -> None:
    study = load_study(write_study(tmp_path, {"contrastive": 0.6, "triplet": 0.9}, seeds=seeds))
    content = content_of(write_page(compare(study), [], tmp_path / "page.html").read_text())
    charts = [one["curves"] for one in content["charts"] if one["curves"]]
    assert charts
    for curves in charts:
        means = [one for one in curves if "s" not in one]
        assert len(means) == 2
        assert len(curves) - len(means) == (4 if seeds == 2 else 0)
        assert all(("low" in one) == (seeds > 1) and ("band" in one) == (seeds == 4) for one in means)
    finals = [row for chart in content["charts"] for row in chart["rows"] if "mean" in row]
    assert finals
    assert all(("bottom" in row) == (seeds == 4) for row in finals)


def test_losses_of_other_scales_share_a_chart(library: None, tmp_path: Path) -> None:
    runs = []
    for name, first in (("contrastive", 1.0), ("triplet", 300.0)):
        rows = [{"epoch": epoch, "step": epoch, "train/loss": first / (epoch + 1)} for epoch in range(3)]
        runs.append(replace(made(loss__name=name), history=lambda keys, rows=rows: rows))
    page = write_page(compare(Study("trial", runs)), [], tmp_path / "page.html").read_text()
    (chart,) = [one for one in content_of(page)["charts"] if one["curves"]]
    assert [curve["y"] for curve in chart["curves"]] == [[1.0, 0.5, 0.3333]] * 2
    assert "<h3>Loss (train), share of largest" in page


def test_what_was_run() -> None:
    data = {"content": {"parts": {"train": [90, 5], "test": [100, 5], "validation": "?"}}}
    record = {
        "data": data,
        "epochs": 2,
        "seconds": 3.5,
        "command": ["train.py", "loss=a b"],
        "versions": {"torch": "2.4"},
        "git": {"commit": "c" * 40, "dirty": True},
        "ended": "2026-01-01T10:00:00+00:00",
    }
    runs = [made(0.5, record=record, seed=0), made(0.6, record=record, seed=1), made(status="failed", seed=2)]
    study = Study("trial", runs, ["one cannot be read"])
    rows = {row[0].lines[0]: (row[1].lines[0], row[2].lines[0]) for row in reversed(facts.facts_table(study).rows)}
    assert rows["data"] == ("digits, train: 90 in 5 classes, test: 100 in 5 classes", "2")
    assert rows["budget"][0].startswith("2 of ")
    assert rows["versions"] == ("torch 2.4", "2")
    assert rows["code"] == ("commit cccccccccccc with changes", "2")
    assert rows["seeds"] == ("0, 1, 2", "3")
    assert {"protocol", "trunk", "batch", "optimizer", "precision"} <= rows.keys()
    assert facts.commands_table(study).rows[0][1].lines == ["train.py 'loss=a b'"]
    said = facts.state(study, datetime(2026, 1, 2, tzinfo=timezone.utc))
    assert said == (
        "Written 2026-01-02 00:00 UTC. 3 runs: 2 finished, 1 failed, 1 not counted; "
        "the last run ended 2026-01-01 10:00 UTC."
    )


def test_every_run_has_a_row_with_its_value() -> None:
    study = known()
    study = replace(study, runs=[*study.runs, made({}, status="running", loss__name="triplet", seed=9)])
    table = facts.runs_table(compare(study, metrics=[RECALL]), Style(names="keys"))
    assert list(table.columns) == ["loss.name", "seed", "status", "folder", RECALL, "epochs", "seconds"]
    rows = [[cell.lines[0] for cell in row] for row in table.rows]
    assert len(rows) == 11
    assert rows[0][:5] == ["contrastive", "0", "finished", study.runs[0].name, "0.8000"]
    assert rows[-1][2:5] == ["running", study.runs[-1].name, "-"]


def test_the_page_is_written_in_the_style_of_the_tables(found: Comparison, no_library: None, tmp_path: Path) -> None:
    style = Style(percent=True, digits=1, columns=["loss.name", RECALL])
    page = write_page(found, [], tmp_path / "page.html", style=style).read_text()
    head = "<button>Recall@1 (%)</button>"
    assert page.count(head) == 2
    assert "<b>86.0 ± 1.6<br>[84.0, 88.0]</b>" in page
    assert "<td>84.0</td>" in page
    assert "<td class='name'><span>Contrastive</span></td>" in page
    assert "MAP@R" not in page


def test_losses_are_told_apart_else_settings() -> None:
    study = known()
    study = replace(study, runs=[*study.runs, made(status="failed", loss__name="arcface", seed=9)])
    found = series(Written(compare(study)))
    assert (found.what, found.names) == ("loss", ["Contrastive", "Triplet", "ArcFace"])
    assert found.of_run[study.runs[-1].name] == 2
    one = Study("trial", [made(loss__margin=margin, seed=seed) for margin in (0.1, 0.2) for seed in range(2)])
    found = series(Written(compare(one)))
    assert (found.what, found.names, found.of_group) == ("settings", ["margin=0.1", "margin=0.2"], [0, 1])


def test_names_of_runs_are_text_wherever_they_stand(library: None, tmp_path: Path) -> None:
    long = "x" * 200
    losses = (HOSTILE, long)
    runs = [made(0.5 + seed / 10, loss__name=loss, seed=seed) for loss in losses for seed in range(2)]
    record = {
        "command": [HOSTILE],
        "versions": {HOSTILE: HOSTILE},
        "host": HOSTILE,
        "data": {"content": {"parts": HOSTILE}},
    }
    runs.append(made(0.4, record=record, loss__name="b", seed=0))
    found = compare(Study(HOSTILE, runs, [HOSTILE]), metrics=[RECALL])
    page = write_page(found, [], tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count("<script") == page.count("</script") == 3
    assert "<img src=x" not in page
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", page)
    assert HOSTILE.partition("\u202e")[0] in content_of(page)["groups"][0]


def test_saved_embeddings_are_shown(library: None, tmp_path: Path) -> None:
    study = write_study(tmp_path, {"contrastive": 0.6, "triplet": 0.9}, seeds=2)
    runs = load_study(study).runs
    for run in runs[1:]:
        assert run.folder is not None
        saved(run.folder, [*"abcde", f"{HOSTILE}{'y' * 200}"])
    page = write_page(compare(load_study(study)), [], tmp_path / "page.html").read_text(encoding="utf-8")
    content = content_of(page)
    plots = [one for one in content["charts"] if one["rows"] and "c" in one["rows"][0]]
    assert [len(one["rows"]) for one in plots] == [30, 30]
    assert content["classes"][:5] == [*"abcde"]
    assert "<h2>Confused classes</h2>" in page
    assert page.count("<script") == 3
    assert not content["images"]


def test_a_projection_that_is_asked_for_is_on_the_page(library: None, tmp_path: Path) -> None:
    study = write_study(tmp_path, {"contrastive": 0.6}, seeds=1)
    (run,) = load_study(study).runs
    assert run.folder is not None
    saved(run.folder)
    found = compare(load_study(study))
    planes = []
    for method, heading in (("pca", "on their principal axes"), ("tsne", "by t-SNE")):
        page = write_page(found, [], tmp_path / "page.html", method=method).read_text(encoding="utf-8")
        assert f"<h2>Test embeddings {heading}</h2>" in page
        (plot,) = [one["rows"] for one in content_of(page)["charts"] if one["rows"] and "c" in one["rows"][0]]
        planes.append({(row["x"], row["y"]) for row in plot})
    assert not planes[0] & planes[1]


def test_a_run_whose_embeddings_are_too_large_takes_no_other_away(tmp_path: Path) -> None:
    study = write_study(tmp_path, {"contrastive": 0.6, "triplet": 0.9}, seeds=1)
    for scale, run in zip((1, 1e200), load_study(study).runs, strict=True):
        assert run.folder is not None
        saved(run.folder, embeddings=np.random.default_rng(0).normal(size=(30, 4)) * scale)
    assert [[one.group for one in groups] for groups in embedded_groups(compare(load_study(study)))] == [[0]]


def test_headings_go_on_in_the_next_line_between_words_alone() -> None:
    table = Table("", ["test/recall_at_1", "g_z"], [[Shown(["a"]), Shown(["1"])]], 1)
    assert "<th class='name'>test/<wbr>recall_<wbr>at_1</th><th>g_z</th>" in html_table(table)


def test_confused_classes_and_queries(tmp_path: Path) -> None:
    study = write_study(tmp_path, {"contrastive": 0.6, "triplet": 0.9}, seeds=1)
    for run in load_study(study).runs:
        assert run.folder is not None
        saved(run.folder)
    (groups,) = embedded_groups(compare(load_study(study)))
    assert len(groups) == 2
    one = groups[0]
    labels = one.saved.labels
    for query, near in zip(one.queries, one.neighbours, strict=True):
        distances = np.linalg.norm(one.saved.embeddings - one.saved.embeddings[query], axis=1)
        distances[query] = np.inf
        np.testing.assert_array_equal(near, np.argsort(distances, kind="stable")[: len(near)])
    counted = {(pair.query, pair.neighbour): (pair.wrong, pair.queries) for pair in confused(one)}
    nearest = labels[one.neighbours[:, 0]]
    assert counted[0, 5] == (int(((labels == 0) & (nearest == 5)).sum()), 5)
    assert not [pair for pair in counted if pair[0] == pair[1]]
    chosen = shared_queries(groups)
    assert all(labels[row] in (0, 5) for row in chosen["fewest hits"])
    assert len(chosen["others"]) == 3
    assert not {*chosen["fewest hits"]} & {*chosen["others"]}


def test_images_are_those_that_were_embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from metriscope.data.datasets import digits
    from metriscope.data.loading import load_splits

    config = config_of(tmp_path, "dataset=digits", seed=0)
    test = load_splits(config["dataset"]).test
    folder = write_run(config)
    write_run(config_of(tmp_path, "dataset=digits", seed=1))
    labels, classes = test.labels.numpy(), list(test.classes)
    saved(folder, classes, embeddings=np.random.default_rng(0).normal(size=(len(labels), 4)), labels=labels)
    ((one,),) = embedded_groups(compare(load_study(tmp_path / "trial")))
    found = images_of(one)
    assert found.labels.equal(test.labels)
    written = (folder / "config.yaml").read_text()
    noisy = written.replace("label_noise: null", "label_noise: 0.2").replace("noise_pairs: null", "noise_pairs: {0: 1}")
    assert noisy != written
    (folder / "config.yaml").write_text(noisy)
    assert images_of(one).labels.equal(test.labels)
    other = replace(one, saved=one.saved._replace(labels=labels[::-1]))
    assert images_of(other) is None

    # A config that came with a study of somebody else names what it likes.
    monkeypatch.setattr(digits, "owned", lambda **_: pytest.fail("executed"), raising=False)
    for target in ("metriscope.data.datasets.digits.owned", "os.system", "metriscope.data.datasets.csv.csv.load"):
        path = folder / "config.yaml"
        path.write_text(re.sub(r"(_target_: )metriscope\.data\.datasets\S+", rf"\g<1>{target}", path.read_text()))
        assert images_of(one) is None


def test_images_of_files_are_read_where_they_are_trusted(tmp_path: Path) -> None:
    from PIL import Image

    from metriscope.data.loading import load_splits

    for place in range(20):
        path = tmp_path / "photos" / "ab"[place % 2] / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (30, 20), (place, 0, 0)).save(path)
    changes = {"dataset__path": str(tmp_path / "photos"), "dataset__validation": 0}
    config = config_of(tmp_path, "dataset=folder", seed=0, **changes)
    folder = write_run(config)
    write_run(config_of(tmp_path, "dataset=folder", seed=1, **changes))
    splits = load_splits(config["dataset"])
    labels, paths = splits.test.labels.numpy(), np.array(splits.file_names("test"))
    saved(
        folder,
        ["a", "b"],
        embeddings=np.random.default_rng(0).normal(size=(len(labels), 4)),
        labels=labels,
        paths=paths,
    )
    ((one,),) = embedded_groups(compare(load_study(tmp_path / "trial")))
    assert images_of(one) is None, "a study of somebody else may name any file"
    test = images_of(one, trusted=True)
    pictures = Pictures()
    assert [pictures.place(test, place) for place in (1, 0, 1)] == [0, 1, 0]
    assert [url.partition(",")[0] for url in pictures.urls] == ["data:image/jpeg;base64"] * 2
    (tmp_path / "photos" / paths[2].removeprefix("photos/")).unlink()
    assert pictures.place(test, 2) is None
    other = replace(one, saved=one.saved._replace(paths=paths[::-1].tolist()))
    assert images_of(other, trusted=True) is None


@pytest.mark.parametrize(
    ("changes", "here"),
    [
        ({}, True),
        ({"data_dir": "data", "download": False, "mean": [0.1], "validation": None}, True),
        ({"data_dir": "/home"}, False),
        ({"path": "data"}, False),
        ({"images": ["/home"]}, False),
    ],
)
def test_data_are_read_by_default_from_their_usual_folder_alone(changes: dict[str, Any], here: bool) -> None:
    section = {"_target_": "metriscope.data.datasets.mnist.load", "name": "mnist", "protocol": "closed_set", "fold": 0}
    assert images._is_here({**section, **changes}) is here


def test_a_text_never_ends_its_tag() -> None:
    assert bundle.as_script({"a": "</script><!--&"}) == '{"a":"\\u003c/script\\u003e\\u003c!--\\u0026"}'
    with pytest.raises(ValueError, match="end its own tag"):
        bundle._plain("'</SCRIPT>'")
