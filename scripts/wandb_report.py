"""The same as ``metriscope wandb-report``."""

import sys

from metriscope.cli import run

if __name__ == "__main__":
    sys.exit(run("wandb-report", sys.argv[1:]))
