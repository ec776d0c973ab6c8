"""The command line of a user who has parts of their own on PYTHONPATH."""

import os
import subprocess
import sys
from pathlib import Path


def metriscope(folder: Path, cwd: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Runs ``metriscope <words>`` in ``cwd`` with ``folder`` on PYTHONPATH."""
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-m", "metriscope", *words]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=200)
