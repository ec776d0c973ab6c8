"""Small studies on disk: run folders in the true formats, without training."""

import sys
from functools import cache
from pathlib import Path
from typing import Any

from conftest import COMPOSER
from omegaconf import OmegaConf

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from benchmarks.study_writer import changed, write_run


@cache
def _composed(*words: str) -> Any:
    return OmegaConf.to_container(COMPOSER([*words, "logger=none"]), resolve=True)


def config(root: Path, *words: str, **changes: Any) -> dict[str, Any]:
    """The resolved config of a run below ``root``; in ``changes`` two underscores stand for a dot."""
    dotted = {key.replace("__", "."): value for key, value in changes.items()}
    return changed(_composed(*words), {"study": "trial", "paths.output_dir": str(root), **dotted})


def write_study(
    root: Path, qualities: dict[str, float], dataset: str = "synthetic", seeds: int = 4, epochs: int = 3, **changes: Any
) -> Path:
    """Finished runs of some losses, each to its quality, over seeds; returns the study's folder."""
    for loss, quality in qualities.items():
        for seed in range(seeds):
            made = config(root, f"loss={loss}", f"dataset={dataset}", seed=seed, **changes)
            write_run(made, quality, epochs)
    return root / "trial"


__all__ = ["config", "write_run", "write_study"]
