import runpy
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_of_losses_is_what_the_code_says():
    script = runpy.run_path(str(ROOT / "scripts" / "catalog.py"))
    assert (ROOT / "docs" / "losses.md").read_text(encoding="utf-8") == script["markdown"](), (
        "python scripts/catalog.py brings docs/losses.md up to date"
    )
