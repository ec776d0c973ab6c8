"""The same as ``metriscope status``."""

import sys

from metriscope.cli import run

if __name__ == "__main__":
    sys.exit(run("status", sys.argv[1:]))
