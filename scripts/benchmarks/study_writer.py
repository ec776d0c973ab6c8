"""Run folders as training leaves them, without training: made-up histories in the true formats."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from metriscope.files import write_json
from metriscope.run.history import Row, Selected, summary
from metriscope.run.identity import folder_of, identity
from metriscope.run.record import FINISHED, FORMAT

_STEP = ("loss", "active_ratio", "active_ratio_pairs", "grad_norm_embedding", "grad_norm_embedding_active")
_NORMS = ("grad_norm", "grad_norm_trunk", "grad_norm_head")
_RETRIEVAL = ("recall_at_1", "recall_at_2", "recall_at_4", "recall_at_8", "precision_at_1", "r_precision", "map_at_r")
_PARTS = ("intra", "inter", "inter_pairwise", "ratio", "within", "between", "total")
_SPREAD = (*(f"variance_{part}" for part in _PARTS), "cosine_intra", "cosine_inter", "pi_ratio")
_SPREAD += (*(f"variance_{part}_raw" for part in _PARTS), "spectral_decay")
_EVALUATED = (*_RETRIEVAL, "queries_skipped", *_SPREAD)
_EPOCH = (
    *(f"val/{key}" for key in (*_EVALUATED, *_STEP, "loss_decay_rate")),
    *(f"train/{key}" for key in (*_STEP, *_NORMS, "loss_decay_rate")),
)
STEPS_PER_EPOCH = 20
LOGGED_EVERY = 10
VERSIONS = {"python": "3.11.7", "metriscope": "0.1.0", "torch": "2.14.1", "numpy": "2.4.6"}


def write_run(
    config: Mapping[str, Any],
    quality: float = 0.8,
    epochs: int = 3,
    status: str = FINISHED,
    final: Mapping[str, float] | None = None,
    versions: Mapping[str, str] = VERSIONS,
) -> Path:
    """One run folder.

    Args:
        config: resolved, as plain containers; its identity seeds the noise.
        quality: what retrieval rises to, between 0 and 1.
        final: values of the summary, on top of those made up.

    Returns:
        its path.
    """
    folder = folder_of(config)
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.dump(dict(config), Dumper=_Dumper, sort_keys=False, allow_unicode=True))
    columns, rows = _history(quality, epochs, int(identity(config)[:8], 16))
    with (folder / "metrics.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([columns, *rows])
    record = {"status": status, "reason": None if status == FINISHED else "because", "identity": identity(config)}
    record |= {"format": FORMAT}
    record |= {"wandb_id": identity(config)[:8], "seed": config["seed"], "started": "2026-01-01T00:00:00+00:00"}
    record |= {
        "ended": "2026-01-01T00:01:00+00:00",
        "seconds": 60.0,
        "epochs": epochs,
        "resumed": 0,
        "host": "here",
        "pid": 1,
    }
    record |= {"versions": dict(versions), "git": {"commit": "a" * 40, "dirty": False}}
    write_json(folder / "run.json", record)
    if status == FINISHED:
        ends: Row = {key: value for row in rows[-2:] for key, value in zip(columns, row, strict=True) if value != ""}
        ends["test/knn_accuracy"] = ends["test/linear_probe_accuracy"] = ends["test/recall_at_1"]
        best = Selected(epochs - 1, epochs * STEPS_PER_EPOCH)
        write_json(folder / "summary.json", summary([ends], best, final))
    return folder


_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def _history(quality: float, epochs: int, seed: int) -> tuple[list[str], list[list[Any]]]:
    """Columns and rows as the history logger writes them: steps, epochs, and the test at the end."""
    columns = ["epoch", "step", *(f"train/{key}_step" for key in (*_STEP, *_NORMS)), *_EPOCH]
    columns += [f"test/{key}" for key in _EVALUATED]
    noise = np.random.default_rng([seed, int(quality * 1e6)])
    steps = len(_STEP) + len(_NORMS)
    progress = np.exp(-3 * np.arange(epochs) / max(epochs - 1, 1))[:, None]
    rising = np.array([_rises(key) for key in _EPOCH])
    levels = np.where(rising, quality * (1 - 0.5 * progress), 0.05 + (1.2 - quality) * progress)
    levels = levels * (1 + 0.01 * noise.normal(size=levels.shape))
    fast = 0.05 + np.exp(-3 * np.linspace(0, 1, epochs * STEPS_PER_EPOCH // LOGGED_EVERY))[:, None]
    fast = fast * (1 + 0.05 * noise.normal(size=(len(fast), steps)))
    rows: list[list[Any]] = []
    after = [""] * len(_EVALUATED)
    for epoch in range(epochs):
        first = epoch * STEPS_PER_EPOCH
        for step in range(first + LOGGED_EVERY - 1, first + STEPS_PER_EPOCH, LOGGED_EVERY):
            rows.append([epoch, step, *fast[step // LOGGED_EVERY].tolist(), *[""] * len(_EPOCH), *after])
        rows.append([epoch, first + STEPS_PER_EPOCH - 1, *[""] * steps, *levels[epoch].tolist(), *after])
    tested = levels[-1, : len(_EVALUATED)] * (1 + 0.01 * noise.normal(size=len(_EVALUATED)))
    rows.append([epochs, epochs * STEPS_PER_EPOCH, *[""] * (steps + len(_EPOCH)), *tested.tolist()])
    return columns, rows


def _rises(key: str) -> bool:
    return key.startswith(tuple(f"val/{name}" for name in (*_RETRIEVAL, *_SPREAD)))


def changed(config: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a config with other values for some dotted keys."""
    copy: dict[str, Any] = json.loads(json.dumps(config))
    for key, value in changes.items():
        *path, last = key.split(".")
        node = copy
        for part in path:
            node = node[part]
        node[last] = value
    return copy
