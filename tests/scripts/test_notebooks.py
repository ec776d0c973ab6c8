"""The notebooks of the tutorials run, in a folder of their own, and have kept what they print."""

import pytest
from pages import notebooks

PATHS = {path.stem: path for path in sorted(notebooks.TUTORIALS.glob("*.ipynb"))}


def test_there_are_three():
    assert list(PATHS) == ["first_run", "life_of_a_model", "own_loss"]


@pytest.mark.parametrize("name", PATHS)
def test_a_notebook_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    content = notebooks.read(PATHS[name])
    code = [cell for cell in content["cells"] if cell["cell_type"] == "code"]
    # What is printed may differ in its figures between machines.
    kept = [len(notebooks.printed(cell).splitlines()) for cell in code]
    assert [len(text.splitlines()) for text in notebooks.run(content, name)] == kept


@pytest.mark.parametrize("name", PATHS)
def test_kept_output_is_all_that_changes(name):
    text = PATHS[name].read_text(encoding="utf-8")
    content = notebooks.read(PATHS[name])
    printed = [notebooks.printed(cell) for cell in content["cells"] if cell["cell_type"] == "code"]
    assert notebooks.keep(content, printed) == text
