"""The same as ``metriscope compare``."""

import sys

from metriscope.cli import run

if __name__ == "__main__":
    sys.exit(run("compare", sys.argv[1:]))
