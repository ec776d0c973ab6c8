import runpy
import subprocess
import sys
from pathlib import Path

from metriscope.config.catalog import LOSSES, MINERS

ROOT = Path(__file__).parents[2]


def test_the_page_of_losses_is_what_the_code_says():
    script = runpy.run_path(str(ROOT / "scripts" / "catalog.py"))
    assert (ROOT / "docs" / "losses.md").read_text(encoding="utf-8") == script["markdown"](), (
        "python scripts/catalog.py --write brings docs/losses.md up to date"
    )


def test_the_list_names_everything():
    command = [sys.executable, "scripts/catalog.py"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert all(f"  {name} " in shown for name in [*LOSSES, *MINERS])
