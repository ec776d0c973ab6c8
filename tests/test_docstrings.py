"""The examples in docstrings say what happens."""

import doctest
import inspect
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
import torch

import metriscope

SOURCE = Path(metriscope.__file__).parent
MODULES = sorted(
    ".".join(("metriscope", *path.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__")
    for path in SOURCE.rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)


class Checker(doctest.OutputChecker):
    """Examples whose output is not shown may print."""

    def check_output(self, want, got, optionflags):
        return not want or super().check_output(want, got, optionflags)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One for all examples, so that the run that they share is trained once."""
    return tmp_path_factory.mktemp("examples")


@cache
def examples(module):
    return [test for test in doctest.DocTestFinder().find(import_module(module)) if test.examples]


@pytest.mark.parametrize("module", MODULES)
def test_examples_say_what_happens(module, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert examples(module)
    for test in examples(module):
        said = []
        test.globs.setdefault("torch", torch)
        doctest.DocTestRunner(Checker()).run(test, out=said.append)
        assert not said, "".join(said)


@pytest.mark.parametrize("name", [name for name in metriscope.__all__ if name != "__version__"])
def test_every_public_name_has_an_example_that_runs(name):
    found = doctest.DocTestParser().get_examples(inspect.getdoc(getattr(metriscope, name)) or "")
    assert any(example.want for example in found) or name == "load"
