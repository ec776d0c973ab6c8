"""What README.md and the pages of docs/ show: blocks of code, by kind, and commands."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Results are a record of what was run.
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    if "results" not in path.parts
}


def blocks(page: str) -> list[tuple[str, str]]:
    """Kind and text of every block of code of a page, such as ``docs/how-to/data.md``."""
    return re.findall(r"^```(\w+)\n(.*?)^```", PAGES[page], flags=re.DOTALL | re.MULTILINE)


def lines(start: str) -> list[str]:
    """The lines of all blocks that begin with a word or two, without repetition."""
    own = (line for page in PAGES for _, text in blocks(page) for line in whole(text).splitlines())
    return sorted({line for line in own if line.startswith(start)})


def inline(pattern: str) -> list[str]:
    """What stands between backquotes in the text of any page and matches a pattern, without repetition."""
    return sorted({found for text in PAGES.values() for found in re.findall(rf"`({pattern}[^`]*)`", text)})


def whole(text: str) -> str:
    """A block in which a line that goes on below is one line."""
    return text.replace("\\\n ", "")
