"""What is known of the terminal."""

import os
import sys


def is_interactive() -> bool:
    """Whether someone watches: standard output is a terminal that can redraw, and no test is running."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb" and "PYTEST_CURRENT_TEST" not in os.environ
