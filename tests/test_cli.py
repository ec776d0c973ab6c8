"""The command ``metriscope``: its subcommands, and what it answers to words that are none."""

import subprocess
import sys

import pytest

from metriscope import __version__
from metriscope.cli import COMMANDS, main


@pytest.fixture
def call(capsys):
    def go(*words):
        with pytest.raises(SystemExit) as ended:
            main(words)
        return int(ended.value.code), capsys.readouterr()

    return go


def test_help_names_every_command(call):
    code, shown = call("--help")
    assert code == 0
    for name in COMMANDS:
        assert f"  {name}" in shown.out
    assert "Exit codes: 0 finished, 1 a run failed, 2 wrong input" in shown.out


def test_version(call):
    assert call("--version") == (0, (f"metriscope {__version__}\n", ""))


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "train"])
def test_every_command_has_help_with_examples(call, command):
    code, shown = call(command, "--help")
    assert code == 0
    assert f"usage: metriscope {command} " in shown.out
    assert f"\nmetriscope {command} " in shown.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "give a command, as in metriscope train loss=triplet."),
        (["trian"], "trian: no such command; did you mean 'train'?"),
        (["loss=triplet"], "loss=triplet: a command comes first, as in metriscope train loss=triplet."),
        (["-m"], "-m: a command comes first"),
    ],
)
def test_words_that_are_no_command(call, words, said):
    code, shown = call(*words)
    assert code == 2
    assert shown.err.startswith(f"metriscope: {said}")
    assert shown.err.count("\n") == 1
    assert shown.out == ""


@pytest.mark.parametrize("words", [("status",), ("embed", "run", "-o", "x.npz"), ("evaluate",)])
def test_a_path_that_the_system_refuses_is_one_line(call, words):
    code, shown = call(*words, "x" * 300)
    assert code == 2
    assert shown.err.startswith("metriscope: ")
    assert shown.err.count("\n") == 1
    assert "File name too long" in shown.err


@pytest.mark.parametrize("words", [("embed", "run", "", "-o", "x.npz"), ("search", "run", "a.jpg", ""), ("status", "")])
def test_an_empty_word_is_not_the_working_folder(call, words):
    code, shown = call(*words)
    assert code == 2
    assert "an empty word names no file and no folder" in shown.err


def test_the_module_is_the_command():
    done = subprocess.run([sys.executable, "-m", "metriscope", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"metriscope {__version__}\n"
