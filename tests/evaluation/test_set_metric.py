"""Metrics and diagnostics kept outside of the repository are judged, logged, monitored, recorded and compared."""

import csv
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import open_dict
from tiny_runs import COMPOSER, TINY

from metriscope.config.compose import compose_config
from metriscope.config.rules import check
from metriscope.errors import InputError, RunError
from metriscope.evaluation.embedded import EvaluatedSet
from metriscope.evaluation.set_metric import SetMetric, asked_metrics, build_metrics, own_metrics

CODE = """
from collections.abc import Sequence

from pytorch_lightning import Callback

from metriscope.metrics import Metric, SetMetric


class Uniformity(SetMetric):
    direction = "min"

    def __init__(self, temperature: float = 2.0) -> None:
        self.temperature = temperature

    def __call__(self, embedded):
        return 0.0


class Broken(SetMetric):
    def __call__(self, embedded):
        raise ValueError("no such\\nthing")


class Sideways(SetMetric):
    direction = "left"

    def __call__(self, embedded):
        return 0.0


class Several(SetMetric):
    figures = (Metric("radius_{k}", "radius {k}", "own", None, ""), Metric("spread", "spread", "own", "min", ""))
    splits = ("val",)

    def __init__(self, k: Sequence[int] = (1, 2)) -> None:
        self.k = k

    def __call__(self, embedded):
        return {**{f"radius_{k}": float(k) for k in self.k}, "spread": 1}


class Fewer(Several):
    def __call__(self, embedded):
        return {"spread": 1}


class Early(SetMetric):
    references = True

    def __call__(self, embedded):
        return 0.0


class Late(SetMetric):
    splits = ("test",)
    references = True
    headline = False

    def __call__(self, embedded):
        return len(embedded.known().labels)


def noted(embedded):
    return 0.0


class Plain:
    pass


class Silent(SetMetric):
    pass


class Word(Uniformity):
    splits = "val"


class Listed(Uniformity):
    figures = ("a", "b")


class Slashed(Uniformity):
    figures = (Metric("a/b", "", "own", None, ""),)


class Untitled(Uniformity):
    section = None


class One(Several):
    def __init__(self, k: int = 3) -> None:
        self.k = [k]


class Text(Uniformity):
    def __call__(self, embedded):
        return "1.5"


class Numbered(Uniformity):
    def __call__(self, embedded):
        return {1: 1.0}


class Ranked(Uniformity):
    def __call__(self, embedded):
        return float(embedded.ranked().relevant.sum())


class Failing(Uniformity):
    def __init__(self) -> None:
        raise ValueError("no such\\nthing")


class Deep(Uniformity):
    def measures(self):
        return ["recall_at"]


class Counter(Callback):
    def on_train_epoch_end(self, trainer, pl_module):
        pl_module.log("train/counted", float(trainer.current_epoch))
"""
PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "evaluation.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```\w+\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path that holds the metric of the page, its config, and further classes."""
    (tmp_path / "others.py").write_text(CODE)
    for text in BLOCKS:
        if text.startswith("# my_"):
            path = tmp_path / text.splitlines()[0][2:]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("others", None)
    return tmp_path


def call(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "metriscope", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=200)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.processes
def test_an_own_metric_is_trained_monitored_and_compared(folder: Path) -> None:
    (line,) = [text for text in BLOCKS if text.startswith("PYTHONPATH=")]
    page = shlex.split(line)[3:]
    for loss in ("triplet", "contrastive"):
        words = [*page, *TINY, f"loss={loss}", "callbacks=early_stopping", "scheduler=plateau"]
        done = call(folder, "train", *words, "evaluation.layers=[trunk,embedding]")
        assert done.returncode == 0, done.stderr
        assert "crowding" in done.stdout
    paths = sorted(folder.glob("outputs/default/*/*/*/summary.json"))
    summaries = [json.loads(path.read_text()) for path in paths]
    for path, summary in zip(paths, summaries, strict=True):
        keys = {f"{split}/crowding{layer}" for split in ("val", "test") for layer in ("", "_trunk")}
        assert keys <= summary.keys()
        history = [float(row["val/crowding"]) for row in rows(path.parent / "metrics.csv") if row["val/crowding"]]
        assert summary["best/epoch"] == history.index(min(history))
        described = json.loads((path.parent / "run.json").read_text())["metrics"]
        assert described["crowding"] == ["crowding", "min"]
        assert described["crowding_trunk"] == ["crowding (trunk)", "min"]
        assert described["map_at_r"] == ["MAP@R", "max"]
        assert described["variance_intra"] == ["intra-class variance", None]
    # The class is not there any more, as where somebody else compares the runs.
    (folder / "my_metrics.py").unlink()
    compared = call(folder, "compare", "outputs/default", "--by", "loss.name", "--format", "json")
    assert compared.returncode == 0, compared.stderr
    assert "crowding" in compared.stdout
    assert "crowding (trunk)" in compared.stdout
    (table,) = (folder / "outputs" / "default" / "report").glob("*.json")
    groups = json.loads(table.read_text())["groups"]
    marks = {group["values"]["loss.name"]: group["metrics"]["test/crowding"] for group in groups}
    best = min(marks, key=lambda name: marks[name]["mean"])
    assert marks[best]["mark"] == "best"
    again = call(folder, "train", *page, *TINY)
    assert again.returncode == 2
    assert "evaluation.metrics.crowding._target_=my_metrics.Crowding: no module my_metrics" in again.stderr
    assert again.stderr.count("\n") == 1


def own(folder: Path, metrics: dict[str, Any], *words: str) -> Any:
    cfg = COMPOSER([*TINY, *words, f"paths.output_dir={folder}/outputs"]).copy()
    with open_dict(cfg):
        cfg.evaluation.metrics.update(metrics)
    return cfg


@pytest.mark.parametrize(
    ("metrics", "words", "line"),
    [
        ({"mrr": {"_target_": "others.Uniformity"}}, [], "evaluation.metrics.mrr: a metric of this name ships"),
        ({"u/x": {"_target_": "others.Uniformity"}}, [], "evaluation.metrics.u/x: a key is made of letters"),
        ({"u_step": {"_target_": "others.Uniformity"}}, [], "evaluation.metrics.u_step: a key is made of letters"),
        ({"u": {"temperature": 2.0}}, [], "evaluation.metrics.u needs the dotted path of a class"),
        ({"u": "others.Uniformity"}, [], "evaluation.metrics.u needs the dotted path of a class"),
        ({"u": {"_target_": "others.Uniformty"}}, [], "evaluation.metrics.u._target_=others.Uniformty: *"),
        ({"u": {"_target_": "others.Plain"}}, [], "evaluation.metrics.u._target_=others.Plain: *SetMetric"),
        ({"u": {"_target_": "others.noted"}}, [], "evaluation.metrics.u._target_=others.noted: *SetMetric"),
        ({"u": {"_target_": "others.Silent"}}, [], "evaluation.metrics.u: Silent has no __call__(self, embedded)"),
        ({"u": {"_target_": "others.Word"}}, [], "evaluation.metrics.u: its splits are 'val'; they have to be a tuple"),
        (
            {"u": {"_target_": "others.Listed"}},
            [],
            "evaluation.metrics.u: its figures are ('a', 'b'); * tuple of Metric",
        ),
        ({"u": {"_target_": "others.Slashed"}}, [], "evaluation.metrics.u logs a/b: a key is made of letters"),
        ({"u": {"_target_": "others.Untitled"}}, [], "evaluation.metrics.u: its title, section and definition have"),
        ({"u": {"_target_": "others.Sideways"}}, [], "evaluation.metrics.u: its direction is 'left'*"),
        ({"u": {"_target_": "others.Early"}}, [], "evaluation.metrics.u: its splits are ('val', 'test'); *('test',)"),
        (
            {"u": {"_target_": "others.Uniformity", "temperature": "hot"}},
            [],
            "evaluation.metrics.u.temperature=hot: it has to be a number",
        ),
        ({"u": {"_target_": "others.Broken", "x": 1}}, [], "evaluation.metrics.u.x: Broken takes no such argument"),
        (
            {"u": {"_target_": "others.Uniformity"}},
            ["evaluation.monitor=val/u", "evaluation.mode=max"],
            "evaluation.mode=max contradicts evaluation.monitor=val/u, where lower is better",
        ),
        (
            {"u": {"_target_": "others.Broken"}},
            ["evaluation.monitor=val/u"],
            "evaluation.monitor=val/u has no better end: say which it is",
        ),
        ({"u": {"_target_": "others.Uniformity"}}, ["evaluation.monitor=val/uu"], "*did you mean 'val/u'?"),
    ],
)
def test_what_cannot_serve_is_one_line(folder: Path, metrics: Any, words: list[str], line: str) -> None:
    with pytest.raises(InputError) as refused:
        check(own(folder, metrics, *words))
    found, (start, _, end) = str(refused.value), line.partition("*")
    assert found.startswith(start), found
    assert end in found
    assert "\n" not in found


def test_several_figures_and_one_at_the_end(folder: Path) -> None:
    from metriscope.app import train

    metrics = {"many": {"_target_": "others.Several", "k": [3]}, "late": {"_target_": "others.Late"}}
    cfg = own(
        folder, metrics, "evaluation.classification=auto", "evaluation.monitor=val/spread", "trainer.max_epochs=1"
    )
    outcome = train(cfg)
    assert (outcome.metrics["val/radius_3"], outcome.metrics["best/val/spread"]) == (3, 1)
    assert outcome.metrics["test/late"] == len(outcome.data.splits.train) == 90
    assert "val/late" not in outcome.metrics
    described = json.loads((outcome.folder / "run.json").read_text())["metrics"]
    assert (described["radius_3"], described["spread"]) == (["radius 3", None], ["spread", "min"])


def test_other_figures_than_those_named_are_one_line(folder: Path) -> None:
    from metriscope.app import train

    with pytest.raises(RunError) as failed:
        train(own(folder, {"fewer": {"_target_": "others.Fewer"}}))
    line = "evaluation.metrics.fewer of 10 embeddings failed: ValueError: it returns spread where it logs radius_1, "
    assert str(failed.value).startswith(line)


def test_a_metric_that_fails_is_one_line(folder: Path) -> None:
    from metriscope.app import train

    with pytest.raises(RunError) as failed:
        train(own(folder, {"broken": {"_target_": "others.Broken"}}))
    assert str(failed.value) == "evaluation.metrics.broken of 10 embeddings failed: ValueError: no such thing"


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("Text", "TypeError: x is a text where it has to be a number"),
        ("Numbered", "ValueError: it returns 1 where it logs x"),
        ("Ranked", "LookupError: no scores, because measures() asks for none"),
    ],
)
def test_what_a_metric_may_not_return_or_ask_is_one_line(folder: Path, name: str, line: str) -> None:
    (built,) = build_metrics({"metrics": {"x": {"_target_": f"others.{name}"}}})
    with pytest.raises(RunError) as failed:
        built.of(EvaluatedSet(torch.eye(4), torch.arange(4)))
    assert str(failed.value) == f"evaluation.metrics.x of 4 embeddings failed: {line}"


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("Failing", r"no such thing \(ValueError in line \d+ of .*others\.py\)"),
        ("Deep", r"measures\(\) returns \['recall_at'\]; it has to return Measures or None"),
    ],
)
def test_a_metric_that_cannot_be_built_is_one_line(folder: Path, name: str, line: str) -> None:
    with pytest.raises(InputError, match=rf"^evaluation\.metrics\.x: {line}$"):
        build_metrics({"metrics": {"x": {"_target_": f"others.{name}"}}})


def test_a_number_as_k_is_one_figure(folder: Path) -> None:
    (asked,) = asked_metrics({"metrics": {"x": {"_target_": "others.One", "k": 5}}})
    assert [figure.key for figure in asked.figures] == ["radius_5", "spread"]


def test_a_set_metric_says_nothing_by_itself() -> None:
    assert own_metrics({}) == own_metrics({"metrics": None}) == {}
    with pytest.raises(NotImplementedError):
        SetMetric()(None)  # type: ignore[arg-type]


def test_an_own_diagnostic_watches_beside_the_shipped_ones(folder: Path) -> None:
    from metriscope.app import train

    cfg = COMPOSER([*TINY, f"paths.output_dir={folder}/outputs"]).copy()
    with open_dict(cfg):
        cfg.diagnostics.counter = {"_target_": "others.Counter"}
    outcome = train(cfg)
    assert outcome.metrics["train/counted"] == 1.0
    assert json.loads((outcome.folder / "run.json").read_text())["metrics"]["counted"] == ["counted", None]


def test_the_diagnostic_of_the_page_watches(folder: Path) -> None:
    from metriscope.app import train

    sys.modules.pop("my_callbacks", None)
    words = [*TINY, "trainer.max_epochs=1", "diagnostics=probed", f"paths.output_dir={folder}/outputs"]
    metrics = train(compose_config(words, folder / "my_configs")).metrics
    assert metrics["train/weight_norm"] > 0
    assert {"train/grad_norm", "val/variance_intra"} <= metrics.keys()


@pytest.mark.parametrize(
    ("section", "line"),
    [
        (
            {"_target_": "others.Plain"},
            "diagnostics.x._target_=others.Plain: it has to be a Lightning callback",
        ),
        ({"_target_": "others.Countr"}, "diagnostics.x._target_=others.Countr: others has no Countr"),
        ({"size": 1}, "diagnostics.x={'size': 1}: it has to be a section with the dotted path of a Lightning callback"),
    ],
)
def test_a_diagnostic_that_cannot_serve_is_one_line(folder: Path, section: Any, line: str) -> None:
    cfg = COMPOSER([*TINY]).copy()
    with open_dict(cfg):
        cfg.diagnostics.x = section
    with pytest.raises(InputError) as refused:
        check(cfg)
    assert str(refused.value).startswith(line)
