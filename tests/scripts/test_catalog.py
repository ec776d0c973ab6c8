import runpy
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_pages_are_what_the_code_says():
    pages = runpy.run_path(str(ROOT / "scripts" / "catalog.py"))["pages"]()
    assert len(pages) == 2
    for page, text in pages.items():
        assert page.read_text(encoding="utf-8") == text, f"python scripts/catalog.py brings {page.name} up to date"
