"""The same as ``metriscope reproduce``."""

import sys

from metriscope.cli import run

if __name__ == "__main__":
    sys.exit(run("reproduce", sys.argv[1:]))
