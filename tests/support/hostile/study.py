"""The study of all kinds of damage, beside runs that are as they should be."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from omegaconf import DictConfig
from studies import config, write_run, write_study
from tiny_runs import COMPOSER

from hostile import configs, figures, places, records
from hostile.kinds import Kind, Traps

KINDS: Mapping[str, Kind] = {**records.KINDS, **configs.KINDS, **figures.KINDS, **places.KINDS}
FIRST = 100
"""Seed of the run of the first kind."""
WORDS = ("loss=triplet", "dataset=synthetic")


class Hostile(NamedTuple):
    """The study of all kinds.

    Attributes:
        folder: of the study.
        runs: where the run of each kind was made, by the name of its kind.
        traps: what must be as before.
        links: how many links of the study itself a comparison tells of.
    """

    folder: Path
    runs: Mapping[str, Path]
    traps: Traps
    links: int

    def kind_of(self, line: str) -> str | None:
        """The kind whose run a line names."""
        return next((name for name, path in self.runs.items() if path.name in line), None)


def composed(root: Path, seed: int, study: str = "trial") -> DictConfig:
    """The config of the command that would train the run of a kind."""
    cfg = _composed().copy()
    cfg.paths.output_dir, cfg.study, cfg.seed = str(root / "outputs"), study, seed
    return cfg


@cache
def _composed() -> DictConfig:
    return COMPOSER([*WORDS, "logger=none"])


def traps_in(root: Path) -> Traps:
    traps = Traps(root / "outside", root / "executed")
    traps.outside.mkdir(parents=True)
    traps.victim.write_text("to be kept")
    return traps


def make(root: Path, kinds: Mapping[str, Kind] = KINDS) -> Hostile:
    """Write the study ``trial`` below ``root / "outputs"``: six good runs, and one of every kind."""
    traps = traps_in(root)
    study = write_study(root / "outputs", {"contrastive": 0.6, "triplet": 0.9}, seeds=3)
    runs = {}
    for seed, (name, kind) in enumerate(kinds.items(), start=FIRST):
        runs[name] = write_run(config(root / "outputs", *WORDS, seed=seed))
        kind.make(runs[name], traps)
    links = places.litter(study, traps)
    for run in list(runs.values())[:1]:
        places.lock_traps(study, run.name, traps)
    return Hostile(study, runs, traps, links)
