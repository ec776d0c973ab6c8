"""Notebooks of the tutorials: run, and as pages. A notebook is JSON, so that this needs no Jupyter."""

import contextlib
import io
import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TUTORIALS = ROOT / "docs" / "tutorials"


def read(path: Path) -> dict[str, Any]:
    """The content of a notebook."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def source(cell: dict[str, Any]) -> str:
    """The text of a cell."""
    return "".join(cell["source"])


def printed(cell: dict[str, Any]) -> str:
    """What a cell of code printed when its output was kept."""
    return "".join("".join(output["text"]) for output in cell["outputs"] if output.get("name") == "stdout")


def run(content: dict[str, Any], name: str) -> list[str]:
    """Run the cells of code one after another, in this process and folder; what each printed."""
    space: dict[str, Any] = {"__name__": "notebook"}
    found = []
    for number, cell in enumerate(content["cells"]):
        if cell["cell_type"] == "code":
            text = io.StringIO()
            with contextlib.redirect_stdout(text):
                exec(compile(source(cell), f"{name}, cell {number}", "exec"), space)
            found.append(text.getvalue())
    return found


def keep(content: dict[str, Any], texts: list[str]) -> str:
    """The notebook with these outputs, as the text of its file."""
    code = [cell for cell in content["cells"] if cell["cell_type"] == "code"]
    for number, (cell, text) in enumerate(zip(code, texts, strict=True)):
        lines = text.splitlines(keepends=True)
        cell["outputs"] = [{"name": "stdout", "output_type": "stream", "text": lines}] if lines else []
        cell["execution_count"] = number + 1
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def markdown(content: dict[str, Any]) -> str:
    """The notebook as a page: text, code, and what the code printed."""
    blocks = []
    for cell in content["cells"]:
        if cell["cell_type"] == "markdown":
            blocks.append(source(cell))
            continue
        blocks.append(f"```python\n{source(cell)}\n```")
        if text := printed(cell):
            blocks.append(f"```text\n{text.rstrip()}\n```")
    return "\n\n".join(blocks) + "\n"
