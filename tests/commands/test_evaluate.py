"""The words of ``metriscope evaluate``."""

import re
import shlex
from pathlib import Path

import pytest

from metriscope.cli import run
from metriscope.commands import evaluate
from metriscope.config.evaluating import of_pretrained

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def asked(monkeypatch):
    found = []
    monkeypatch.setattr("metriscope.evaluating.evaluate", lambda *given: found.append(given))
    return found


def test_the_folder_of_a_run_stands_anywhere_among_the_words(asked, tmp_path):
    odd = tmp_path / "lr=1"
    odd.mkdir()
    for folder in ("outputs/run", str(odd)):
        assert run("evaluate", ["dataset=mnist", folder, "--config-dir", "mine", "~evaluation.metrics.mrr"]) == 0
        words, path, config_dir = asked.pop()
        assert (words, str(path), config_dir) == (["dataset=mnist", "~evaluation.metrics.mrr"], folder, "mine")
    assert run("evaluate", ["backbone=efficientnet_lite0"]) == 0
    assert asked == [(["backbone=efficientnet_lite0"], None, None)]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "give the folder of a run, or a trunk, as in metriscope evaluate backbone=efficientnet_lite0"),
        (["one", "two"], "one and two: evaluate takes the folder of one run"),
        (["one", "-m"], "unrecognized arguments: -m; metriscope evaluate --help says more"),
    ],
)
def test_words_that_cannot_be_read(asked, capsys, words, said):
    assert run("evaluate", words) == 2
    assert capsys.readouterr().err == f"metriscope: {said}\n"
    assert not asked


def test_documented_words_are_sound():
    lines = re.findall(r"^metriscope evaluate (.*)$", f"{README}\n{evaluate.__doc__}", flags=re.MULTILINE)
    assert len(lines) == 6
    for line in lines:
        folder, words = evaluate._split(shlex.split(line))
        if folder is None:
            assert of_pretrained(words)["head"]["name"] == "identity"
