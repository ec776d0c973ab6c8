"""What a run was made with: versions of packages, and the commit of the source tree. Imports no torch."""

import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

_PACKAGES = ("torch", "torchvision", "pytorch-lightning", "torchmetrics", "numpy", "hydra-core", "wandb")


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that runs record."""
    own = {"python": platform.python_version(), "metriscope": metadata.version("metriscope")}
    return {**own, **{name: metadata.version(name) for name in _PACKAGES}}


def git_state() -> dict[str, Any] | None:
    """Commit of the source tree and whether it has local changes; None outside a checkout of it."""
    here = Path(__file__)

    def ask(*words: str) -> str:
        command = ["git", "-C", str(here.parent), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()

    try:
        # An installation may lie within a repository of somebody's own.
        ask("ls-files", "--error-unmatch", here.name)
        return {"commit": ask("rev-parse", "HEAD"), "dirty": bool(ask("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return None
