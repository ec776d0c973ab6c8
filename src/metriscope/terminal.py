"""Whether the terminal is interactive."""

import os
import sys


def is_interactive() -> bool:
    """Whether standard output is a terminal that can redraw, and no test is running."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb" and "PYTEST_CURRENT_TEST" not in os.environ
