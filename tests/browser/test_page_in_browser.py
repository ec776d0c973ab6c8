"""The page of a comparison in a browser: its layout, what a pointer and clicks do, and that it asks no host."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from benchmarks.study_writer import changed
from studies import config, write_run, write_study

from metriscope.cli import run
from metriscope.data.loading import load_splits
from metriscope.run.study import load_study

pytest.importorskip("selenium")
pytest.importorskip("vl_convert")

from browsers import PHONE, WIDE, Browser

pytestmark = pytest.mark.browser

LONG = "a_name_of_" + "many_" * 38
HOSTILE = (
    "</script><script>document.title = 'owned'</script><img src=x onerror=\"document.title = 'owned'\">\u202e\x1b[31m"
)
BYTES = 3 * 2**20


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = Browser()
    yield found
    found.driver.quit()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two losses on digits with embeddings of the true test images, and a run that failed."""
    root = tmp_path_factory.mktemp("page")
    test = load_splits(config(root, "dataset=digits")["dataset"]).test
    labels = test.labels.numpy()
    for seed, loss in enumerate(("contrastive", "triplet")):
        noise = np.random.default_rng(seed).normal(size=(len(labels), 10)) * (0.2 + 0.2 * seed)
        for repeat in range(2):
            cfg = config(root, "dataset=digits", f"loss={loss}", seed=repeat)
            folder = write_run(cfg, 0.6 + 0.2 * seed, epochs=5)
            arrays = {"embeddings": np.eye(10)[labels] + noise, "labels": labels, "classes": np.array(test.classes)}
            np.savez(folder / "embeddings.npz", **arrays)
    write_run(config(root, "dataset=digits", "loss=triplet", seed=2), status="failed")
    return written(root / "trial")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Names that are markup, control characters or long in every place where a run has one."""
    study = write_study(tmp_path_factory.mktemp("hostile"), {"contrastive": 0.6, "triplet": 0.9}, seeds=2)
    for one in load_study(study).runs:
        assert one.folder is not None
        name = HOSTILE if "contrastive" in one.name else LONG
        said = yaml.safe_load((one.folder / "config.yaml").read_text())
        said = changed(said, {"loss.name": name, "dataset.name": name, "backbone.name": name, "miner.name": name})
        (one.folder / "config.yaml").write_text(yaml.safe_dump(said))
        record = json.loads((one.folder / "run.json").read_text())
        record |= {"versions": {name: name}, "host": name, "command": [name], "git": {"commit": name}}
        (one.folder / "run.json").write_text(json.dumps(record))
        arrays = {"labels": np.repeat([0, 1], 5), "classes": np.array([HOSTILE, LONG])}
        np.savez(one.folder / "embeddings.npz", embeddings=np.random.default_rng(0).normal(size=(10, 4)), **arrays)
    return written(study)


def written(study: Path) -> Path:
    assert run("compare", [str(study), "--html", "--figures", "critical_difference"]) == 0
    return study / "report" / "comparison.html"


@pytest.fixture(params=["page", "hostile"])
def any_page(request: pytest.FixtureRequest) -> Path:
    found: Path = request.getfixturevalue(request.param)
    return found


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_nothing_is_wider_than_the_window_or_asks_a_host(
    browser: Browser, any_page: Path, size: tuple[int, int]
) -> None:
    browser.open(any_page, size)
    browser.draw_all()
    assert browser.ask("return document.documentElement.scrollWidth") <= size[0]
    for selector in (".wide", "[data-chart]", "canvas", "h1", ".note", "#filter"):
        ends = browser.ask(
            f"return [...document.querySelectorAll('{selector}')].map(one => one.getBoundingClientRect().right)"
        )
        assert ends or selector == ".note"
        assert max(ends, default=0) <= size[0], selector
    assert browser.requests() == [any_page.resolve().as_uri()]
    assert browser.said() == []


def test_tables_fit_a_wide_window_and_scroll_in_their_box_on_a_phone(browser: Browser, page: Path) -> None:
    boxes = "return [...document.querySelectorAll('.wide')].map(one => [one.scrollWidth, one.clientWidth])"
    browser.open(page, WIDE)
    assert all(inner <= outer for inner, outer in browser.ask(boxes))
    browser.open(page, PHONE)
    sizes = browser.ask(boxes)
    assert any(inner > outer for inner, outer in sizes)
    for box in browser.find(".wide"):
        browser.ask("arguments[0].scrollLeft = 50", box)
    moved = browser.ask("return [...document.querySelectorAll('.wide')].map(one => one.scrollLeft > 0)")
    assert moved == [inner > outer for inner, outer in sizes]


def test_a_click_on_a_heading_sorts(browser: Browser, page: Path) -> None:
    browser.open(page)
    assert column(browser, "Runs", "status")[-1:] == ["failed"]
    key = "Recall@1"
    click(browser, "Runs", key)
    values = column(browser, "Runs", key)
    assert values[-1] == "-"
    assert values[:-1] == sorted(values[:-1], key=float)
    click(browser, "Runs", key)
    assert column(browser, "Runs", key) == [*sorted(values[:-1], key=float, reverse=True), "-"]
    click(browser, "Runs", "folder")
    assert column(browser, "Runs", "folder") == sorted(column(browser, "Runs", "folder"))
    click(browser, "Results", key)
    assert column(browser, "Results", "loss")[0] == "Contrastive"


def test_the_filter_holds_for_tables_charts_and_galleries(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.draw_all()
    pixels = "return [...document.querySelectorAll('canvas')].map(one => one.toDataURL())"
    before = browser.ask(pixels)
    (box,) = [one for one in browser.find("#filter label") if one.text == "Triplet"]
    box.click()
    losses = "[...new Set([...document.querySelectorAll('tr[data-loss]:not([hidden])')].map(one => one.dataset.loss))]"
    assert browser.ask(f"return {losses}") == ["0"]
    shown = "[...document.querySelectorAll('.gallery th[data-loss]:not([hidden])')].map(one => one.textContent)"
    assert browser.ask(f"return {shown}") == ["Contrastive"]
    assert browser.ask("return document.querySelectorAll('figure[data-loss][hidden]').length") == 1
    charts = sum(old != new for old, new in zip(before, browser.ask(pixels), strict=True))
    assert charts >= len(before) - 2, "the projections stay as they are, or go"
    (everything,) = browser.find("#filter button")
    everything.click()
    assert browser.ask(f"return {losses}.length") == 2
    everything.click()
    assert browser.ask(f"return {losses}.length") == 0
    everything.click()
    browser.until(
        f"JSON.stringify((() => {{ {pixels} }})()) === {json.dumps(json.dumps(before, separators=(',', ':')))}"
    )


def test_a_pointer_over_a_chart_shows_its_values(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.draw_all()
    curve = hovered(browser, browser.find("[data-chart] canvas")[0])
    assert "group Contrastive" in curve or "group Triplet" in curve
    assert {"epoch", "mean", "from", "to"} <= {line.split()[0] for line in curve.splitlines()}
    plot = hovered(browser, browser.find("figure[data-loss] canvas")[0])
    assert plot.startswith("class ")
    image = "document.querySelector('#tip img')"
    browser.until(f"{image}.complete && {image}.naturalWidth > 0")


def test_images_are_there_side_by_side(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.until("[...document.querySelectorAll('.gallery img')].every(one => one.complete && one.naturalWidth > 0)")
    heads = [one.text for one in browser.find(".gallery th")]
    assert heads == ["query", "Contrastive", "Triplet"]
    assert len(browser.find(".gallery tr")) == 7
    assert len(browser.find(".gallery .hit")) + len(browser.find(".gallery .miss")) == 6 * 2 * 5


def test_names_of_others_stay_text(browser: Browser, hostile: Path) -> None:
    browser.open(hostile)
    browser.draw_all()
    for canvas in browser.find("[data-chart] canvas")[:2]:
        hovered(browser, canvas)
    assert browser.ask("return document.title") == "trial"
    assert len(browser.find("script")) == 3
    assert browser.ask("return [...document.images].filter(one => !one.src.startsWith('data:image/')).length") == 0
    assert "</script><script>document.title" in browser.find("#filter")[0].text
    assert browser.said() == []


def test_a_study_of_200_runs_is_small_and_soon_there(browser: Browser, tmp_path: Path) -> None:
    losses = {"contrastive": 0.5, "triplet": 0.6, "proxy_anchor": 0.7, "arcface": 0.8, "multi_similarity": 0.9}
    page = written(write_study(tmp_path, losses, seeds=40, epochs=30))
    assert page.stat().st_size < BYTES
    browser.open(page)
    paint = browser.until("performance.getEntriesByType('paint')[0]?.startTime")
    assert paint < 2000
    assert len(column(browser, "Runs", "status")) == 200
    browser.draw_all()
    assert browser.said() == []


def column(browser: Browser, section: str, key: str) -> list[str]:
    """The cells of a column that are shown, of the first table of a section."""
    script = f"""{TABLE}
        const at = heads.findIndex(head => head.textContent === arguments[1]);
        return [...table.tBodies[0].rows].filter(row => !row.hidden).map(row => row.cells[at].textContent)"""
    found: list[str] = browser.ask(script, section, key)
    return found


def click(browser: Browser, section: str, key: str) -> None:
    browser.ask(f"{TABLE} heads.find(head => head.textContent === arguments[1]).firstChild.click()", section, key)


TABLE = """
    const title = [...document.querySelectorAll('h2')].find(one => one.textContent === arguments[0]);
    const table = title.nextElementSibling.querySelector('table');
    const heads = [...table.tHead.rows[0].cells];
"""


def hovered(browser: Browser, canvas: Any) -> str:
    """What the tip says where the pointer first finds something, on its way over a chart."""
    browser.ask("arguments[0].scrollIntoView({block: 'center'})", canvas)
    width, height = canvas.size["width"], canvas.size["height"]
    for x, y in ((x, y) for y in range(30, height - 30, 12) for x in range(60, width - 20, 12)):
        browser.point(canvas, x, y)
        if not browser.ask("return document.getElementById('tip').hidden"):
            return str(browser.ask("return document.getElementById('tip').innerText"))
    raise AssertionError("no tip anywhere")
