"""``python -m metriscope``: the same as the command ``metriscope``."""

from metriscope.cli import main

main()
