"""Small studies without training: on disk as run folders in the true formats, and in memory."""

from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.study_writer import changed, write_run
from omegaconf import OmegaConf
from tiny_runs import COMPOSER

from metriscope.config.plain import flatten
from metriscope.run.record import FINISHED, Record
from metriscope.run.study import Study, StudyRun

RECALL, INTRA = "test/recall_at_1", "test/variance_intra"
VALUES = {"contrastive": [0.80, 0.82, 0.81, 0.79, 0.83], "triplet": [0.85, 0.86, 0.88, 0.84, 0.87]}


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
            cfg = config(root, f"loss={loss}", f"dataset={dataset}", seed=seed, **changes)
            write_run(cfg, quality, epochs)
    return root / "trial"


def made(values: float | dict[str, float] = 0.5, status: Any = FINISHED, record: Any = (), **changes: Any) -> StudyRun:
    """A run in memory."""
    metrics = values if isinstance(values, dict) else {RECALL: values, INTRA: 1 - values}
    flat = flatten(config(Path("outputs"), **changes))
    name = "-".join(f"{key}={value}" for key, value in changes.items())
    return StudyRun(name, flat, metrics, Record(status, **dict(record)), lambda keys: [])


def known(**more: list[float]) -> Study:
    """Two losses with known values over five seeds."""
    losses = {**VALUES, **more}
    return Study("trial", [made(v, loss__name=loss, seed=s) for loss, vs in losses.items() for s, v in enumerate(vs)])


__all__ = ["INTRA", "RECALL", "VALUES", "config", "known", "made", "write_run", "write_study"]
