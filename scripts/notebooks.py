"""Run the notebooks of docs/tutorials and keep what they print in them: python scripts/notebooks.py"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from pages.notebooks import TUTORIALS, keep, read, run

from metriscope.files import replacing


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    for path in sorted(TUTORIALS.glob("*.ipynb")):
        content = read(path)
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            sys.path.insert(0, folder)
            texts = run(content, path.name)
            sys.path.remove(folder)
            os.chdir(Path(path.anchor))
        with replacing(path) as draft:
            draft.write_text(keep(content, texts), encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main()
