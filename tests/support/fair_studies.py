"""Folders of fair comparisons in the true formats, without any training."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
from studies import config, write_run

from metriscope.config.evaluates import EVALUATES, ZERO_SHOT
from metriscope.run.fair import digest_of_ledger, signed, without_seed

SPACES = {
    "contrastive": {"optimizer.lr_head": "tag(log,interval(1e-05,0.1))"},
    "triplet": {"loss.margin": "interval(0.02,1.0)", "optimizer.lr_head": "tag(log,interval(1e-05,0.1))"},
    "triplet/semihard": {"loss.margin": "interval(0.02,1.0)"},
}
QUERIES = 40


def words_of(entry: str) -> list[str]:
    """What chooses the parts of an entry."""
    return [f"{group}={name}" for group, name in zip(("loss", "miner"), entry.split("/"), strict=False)]


def write_fair(
    root: Path,
    entries: tuple[str, ...] = tuple(SPACES),
    *,
    trials: int = 12,
    folds: int = 3,
    repeats: int = 5,
    closed: bool = True,
    per_query: bool = True,
    zero_shot: bool = True,
    dataset: str = "synthetic",
    untuned: bool = False,
    **changes: Any,
) -> Path:
    """A study of these entries; the first is the best. Returns its folder.

    Args:
        closed: whether the search is closed: then there is a manifest, and there are repeats.
        untuned: whether the default settings are repeated too; they are worse by a tenth.
        changes: of the configs of all repeats, as of ``studies.config``.
    """
    folder = root / "trial"
    folder.mkdir(parents=True)
    draw = np.random.default_rng(0)
    rows = [row for place, entry in enumerate(entries) for row in _trials(entry, place, trials, folds, draw)]
    head = ["entry", "trial", "seed", "config", "params", *(f"fold_{fold}" for fold in range(folds))]
    with (folder / "ledger.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*head, "value", "status", "steps", "seconds"])
        writer.writerows(rows)
    definition = signed({
        "format": 1,
        "entries": [{"name": entry, "words": words_of(entry)} for entry in entries],
        "spaces": {entry: SPACES[entry] for entry in entries},
        "trials": trials, "folds": folds, "repeats": repeats, "sampler": "tpe", "seed": 0, "metric": "val/map_at_r",
        "mode": "max", "zero_shot": "0" * 64,
        "fixed": [f"dataset={dataset}"], "data": {"name": dataset, "content": "abc"}, "versions": {"torch": "2.14.1"},
        **({"untuned": True} if untuned else {}),
    })  # fmt: skip
    (folder / "fair.json").write_text(json.dumps(definition))
    if not closed:
        return folder
    winners = [_winner([row for row in rows if row[0] == entry]) for entry in entries]

    def repeat(winner: dict[str, Any], seed: int) -> dict[str, Any]:
        chosen = {key.replace(".", "__"): value for key, value in winner["params"].items()} | changes
        return config(root, *words_of(winner["entry"]), f"dataset={dataset}", seed=seed, **chosen)

    defaults = [_winner([row for row in rows if row[0] == entry][:1]) for entry in entries] if untuned else []
    for one in (*winners, *defaults):
        one["config"] = without_seed(repeat(one, 0))
    digest = digest_of_ledger(folder)
    content = {**definition, "definition": definition["hash"], "winners": winners, "ledger": digest}
    content |= {"untuned": defaults} if untuned else {}
    manifest = signed(content)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    for place, winner in [*enumerate(winners), *enumerate(defaults)]:
        worse = 0.1 * (winner in defaults)
        for seed in range(repeats):
            final = {"test/map_at_r": 0.6 - worse - 0.05 * place + 0.01 * float(draw.normal())}
            run = write_run(repeat(winner, seed), 0.8 - worse - 0.05 * place, final=final)
            let_test(run, manifest["hash"])
            if per_query:
                _write_queries(run, draw.beta(2, 2 + place, QUERIES))
    if zero_shot:
        cfg = config(root, "loss=triplet", f"dataset={dataset}", seed=0)
        let_test(write_run({**cfg, EVALUATES: ZERO_SHOT, "loss": {"name": ZERO_SHOT}}, 0.3), manifest["hash"])
    return folder


def let_test(run: Path, manifest: str) -> None:
    """Name the manifest in the record of a run."""
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**record, "fair": manifest}))


def _trials(entry: str, place: int, trials: int, folds: int, draw: np.random.Generator) -> list[list[Any]]:
    """Lines of the ledger: trial 2 is pruned, trial 3 fails, and the value goes by the first parameter."""
    rows = []
    for trial in range(trials):
        share = 0.2 if trial == 0 else float(draw.random())
        params = {key: round(0.02 + 0.9 * share, 4) if "margin" in key else 10.0 ** (-5 + 4 * float(draw.random()))
                  for key in SPACES[entry]}  # fmt: skip
        values = (0.5 - 0.05 * place - (share - 0.6) ** 2 + 0.01 * draw.normal(size=folds)).tolist()
        status = {2: "pruned", 3: "failed"}.get(trial, "complete")
        values = values[:1] if status == "pruned" else [] if status == "failed" else values
        value = float(np.mean(values)) if status == "complete" else ""
        steps = 40 if status != "failed" else ""
        cells = [*values, *[""] * (folds - len(values)), value, status, steps, 30.0]
        rows.append([entry, trial, trial, "0" * 8, json.dumps(params), *cells])
    return rows


def _winner(rows: list[list[Any]]) -> dict[str, Any]:
    best = max((row for row in rows if row[-3] == "complete"), key=lambda row: row[-4])
    return {"entry": best[0], "trial": best[1], "params": json.loads(best[4]), "value": best[-4], "steps": best[-2]}


def _write_queries(run: Path, precisions: np.ndarray) -> None:
    with (run / "per_query.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["position", "class", "average_precision"])
        # The last query has nothing to find.
        writer.writerows([place, "a", value] for place, value in enumerate(precisions.tolist()))
        writer.writerow([len(precisions), "b", ""])
