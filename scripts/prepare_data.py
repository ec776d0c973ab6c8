"""The same as ``metriscope data``."""

import sys

from metriscope.cli import run

if __name__ == "__main__":
    sys.exit(run("data", sys.argv[1:]))
