"""Commands over studies of others: one line per bad run, the good ones compared, nothing written, executed or hung."""

import json
import re
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from hostile.places import UNFINISHED
from hostile.study import FIRST, KINDS, WORDS, Hostile, composed, make, traps_in
from hostile.watch import BYTES, SECONDS, limited, peak, seconds, state
from omegaconf import DictConfig
from studies import config, write_run

from metriscope.app import train
from metriscope.cli import run
from metriscope.errors import InputError
from metriscope.outcome import Outcome
from metriscope.run.study import load_study

HIDDEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e]")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Hostile:
    return make(tmp_path_factory.mktemp("hostile"))


@pytest.fixture
def watched(hostile: Hostile) -> Iterator[None]:
    """Bounds time and memory, and compares what lies outside of the study."""
    before, memory, began = state(hostile.traps.outside), peak(), seconds()
    with limited(6 * SECONDS):  # other processes may slow this one down
        yield
    assert seconds() - began < SECONDS
    assert peak() - memory < BYTES
    assert state(hostile.traps.outside) == before
    assert not hostile.traps.executed.exists()


def test_there_are_many_kinds() -> None:
    assert len(KINDS) + len(UNFINISHED) > 100


def test_every_bad_run_is_one_line(hostile: Hostile, watched: None) -> None:
    study = load_study(hostile.folder)
    told = [hostile.kind_of(line) for line in study.problems]
    unfinished = {name for name in KINDS if name.startswith(("failed", "running"))}
    assert sorted(filter(None, told)) == sorted({name for name in KINDS if not KINDS[name].compared} - unfinished)
    assert told.count(None) == hostile.links
    assert not [line for line in study.problems if HIDDEN.search(line) or "\n" in line or len(line) > 600]
    assert len(study.finished) == 6 + sum(kind.compared for kind in KINDS.values())
    assert {hostile.kind_of(run.name) for run in study.unfinished} == unfinished


def test_the_state_of_every_run_is_told(hostile: Hostile, watched: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("status", [str(hostile.folder)]) == 0
    shown, said = capsys.readouterr()
    rows = shown.splitlines()
    for name, kind in KINDS.items():
        (row,) = [row for row in rows if hostile.kind_of(row) == name] or [""]
        assert ("  broken  " in row) == kind.broken, name
    broken = [hostile.kind_of(line) for line in said.splitlines()]
    assert sorted(filter(None, broken)) == sorted(name for name, kind in KINDS.items() if kind.broken)
    assert not HIDDEN.search(shown + said)


@pytest.mark.processes
def test_the_good_runs_are_compared(hostile: Hostile, watched: None, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--figures", "learning_curves,intervals,embeddings", "--metrics", "test/recall_at_1,test/map_at_r"]
    assert run("compare", [str(hostile.folder), "--by", "loss.name", "--html", *words]) == 0
    shown, said = capsys.readouterr()
    report = hostile.folder / "report"
    groups = json.loads((report / "comparison.json").read_text(encoding="utf-8"))["groups"]
    (contrastive,) = [group for group in groups if group["values"]["loss.name"] == "contrastive"]
    assert contrastive["metrics"]["test/recall_at_1"]["n"] == 3
    assert "Traceback" not in said
    assert not HIDDEN.search(shown + said)
    for name in ("comparison.csv", "comparison.md", "comparison.tex", "comparison.html"):
        path = report / name
        assert not path.is_symlink()
        text = path.read_text(encoding="utf-8")
        assert not HIDDEN.search(text), name
        assert "<script" not in text or name in ("comparison.csv", "comparison.tex", "comparison.html"), name
    page = (report / "comparison.html").read_text(encoding="utf-8")
    (policy,) = re.findall('Content-Security-Policy" content="(.*?)"', page)
    scripts = re.findall("<script>(.*?)</script>", page, re.DOTALL)
    assert all(b64encode(sha256(one.encode()).digest()).decode() in policy for one in scripts)
    assert page.count("<script") == len(scripts) + 1, "the data of the page are the only other one"
    commands = (report / "comparison.tex").read_text(encoding="utf-8").splitlines()
    assert not [line for line in commands if "\\input" in line and not line.startswith("%")]
    cells = (report / "comparison.csv").read_text(encoding="utf-8").splitlines()
    assert not [line for line in cells if line.startswith(("=", "@", "+"))]
    assert "'=cmd" in "\n".join(cells)


def test_what_cannot_be_drawn_is_told(hostile: Hostile, watched: None, caplog: pytest.LogCaptureFixture) -> None:
    from metriscope.reports.comparison import compare
    from metriscope.reports.embedding_figures import embeddings
    from metriscope.reports.table_style import Written
    from metriscope.reports.trajectories import trajectories

    found = compare(load_study(hostile.folder), by=["loss.name"])
    trajectories(found.grouping.groups, ["train/loss"])
    embeddings(Written(found))
    told = [hostile.kind_of(line) for line in caplog.messages]
    assert sorted(filter(None, told)) == sorted(name for name, kind in KINDS.items() if kind.drawn)
    assert not [line for line in caplog.messages if HIDDEN.search(line)]


@pytest.mark.parametrize(("place", "code"), [("report", 2), ("report/figures", 0), ("report/wandb", 2)])
def test_nothing_is_written_through_a_link(
    tmp_path: Path,
    place: str,
    code: int,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hostile = make(tmp_path, {})
    link = hostile.folder / place
    if place == "report":
        link.rename(tmp_path / "away")
    link.symlink_to(hostile.traps.outside)
    before = state(hostile.traps.outside)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert run("compare", [str(hostile.folder), "--figures", "intervals", "--log-wandb"]) == code
    assert "it is a link" in capsys.readouterr().err + "".join(caplog.messages)
    assert state(hostile.traps.outside) == before


def test_a_finished_run_is_told_or_refused(hostile: Hostile, watched: None) -> None:
    root = hostile.folder.parents[1]
    (hostile.folder / ".locks").unlink()
    for seed, (name, kind) in enumerate(KINDS.items(), start=FIRST):
        if kind.trains:
            continue
        found = told(composed(root, seed))
        assert isinstance(found, str) or not found.trained, name
        assert "\n" not in str(found), name


def told(cfg: DictConfig) -> Outcome | str:
    """What training gives, or the line with which it is refused."""
    try:
        return train(cfg)
    except InputError as error:
        return str(error)


@pytest.mark.parametrize("name", UNFINISHED)
def test_an_unfinished_run_is_refused_before_it_is_touched(tmp_path: Path, name: str) -> None:
    traps = traps_in(tmp_path)
    folder = write_run(config(tmp_path / "outputs", *WORDS, seed=FIRST), status="interrupted")
    UNFINISHED[name](folder, traps)
    before = state(traps.outside)
    cfg = composed(tmp_path, FIRST)
    cfg.resume = "must"  # a checkpoint that is not whole is set aside otherwise, and the run begins afresh
    with limited(), pytest.raises(InputError, match=r"is a link|is a pipe|no whole checkpoint") as refused:
        train(cfg)
    assert "\n" not in str(refused.value)
    assert state(traps.outside) == before
    assert not traps.executed.exists()
