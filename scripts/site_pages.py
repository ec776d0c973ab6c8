"""Put the pages of the site together in build/docs, from docs/ and from the code: python scripts/site_pages.py

``make docs`` calls it, then mkdocs, which writes the site to build/site.
"""

import argparse
import re
import shutil
from pathlib import Path

from pages import api, keys, notebooks

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "build" / "docs"
# Files at the root that pages link to, and where they are in the site.
PROJECT = {
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
    "CHANGELOG.md": "project/changelog.md",
}


def pages() -> dict[str, str]:
    """The text of every page by its path in the site."""
    docs = ROOT / "docs"
    found = {path.relative_to(docs).as_posix(): path.read_text(encoding="utf-8") for path in docs.rglob("*.md")}
    found |= {page: (ROOT / name).read_text(encoding="utf-8") for name, page in PROJECT.items()}
    for path in notebooks.TUTORIALS.glob("*.ipynb"):
        found[f"tutorials/{path.stem}.md"] = notebooks.markdown(notebooks.read(path))
    found = {page: linked(text) for page, text in found.items()}
    return found | keys.pages() | api.pages()


def linked(text: str) -> str:
    """The text of a page of docs/, with its links to notebooks and to files at the root led to pages of the site."""
    names = "|".join(map(re.escape, PROJECT))
    text = re.sub(r"(\]\([\w./-]+)\.ipynb", r"\1.md", text)
    return re.sub(rf"\]\(((?:\.\./)*)\.\./({names})", lambda found: f"]({found[1]}{PROJECT[found[2]]}", text)


def write(target: Path) -> None:
    """Write all pages, and the files beside them such as pictures, to a folder that is made anew."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(ROOT / "docs", target, ignore=shutil.ignore_patterns("*.md", "*.ipynb"))
    for page, text in pages().items():
        path = target / page
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    write(TARGET)
    print(TARGET)


if __name__ == "__main__":
    main()
