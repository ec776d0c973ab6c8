"""What the words of ``metriscope fair`` ask for: entries, budgets, and what is fixed. Imports no torch."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from metriscope.config.search_path import of_search_path, with_folder
from metriscope.config.words import parse
from metriscope.errors import InputError, nearest
from metriscope.run.fair import words_of

STUDY = "fair"
"""Name of the study where the words give none."""
SAMPLERS = ("tpe", "gp")
ALL, FOLDS = MODELS = ("all", "folds")
"""What a repeat trains: one model on all training classes, or one without each fold."""
_OWN = ("losses", "trials", "folds", "repeats", "models", "untuned", "search", "prune", "workers", "seed")
# What the study sets itself, with what to give instead.
_NOT_FIXED = {
    "loss": "give all of them as losses=...",
    "sweep": "the search is the study's own",
    "resume": "a fair comparison goes on by itself",
    "init": "repeats begin from values drawn by their seeds",
    "dataset.fold": "give the number of folds as folds=...",
    "dataset.validation": "give the number of folds as folds=...",
    "callbacks": "repeats have no validation set to go by",
}  # fmt: skip
# Where and how, which changes no result.
_ASIDE = ("study", "tags", "logger", "paths")
_ENTRY = re.compile(r"[\w-]+(/[\w-]*){0,3}")
_FOR_ENTRY = re.compile(r"([\w/-]+):([^=]+=.*)", re.DOTALL)


@dataclass(frozen=True)
class Entry:
    """A loss with its miner, weighting and mixture.

    Attributes:
        name: ``loss``, then its miner, weighting and mixture behind slashes, as far as they are named.
        words: what chooses these parts, and what is fixed for this entry alone.
        ranges: ranges to search that the command line gives for it, by key.
    """

    name: str
    words: tuple[str, ...]
    ranges: Mapping[str, str]


@dataclass(frozen=True)
class Asked:
    """A fair comparison as a command line asks for it.

    Attributes:
        entries: what is compared.
        fixed: words that hold for every run.
        aside: words that change no result: study, loggers, places.
        trials, folds, repeats: budgets.
        models: one of :data:`MODELS`.
        sampler: one of :data:`SAMPLERS`.
        prune: share of the best trial's value by which a trial has to be worse to end early; None: never.
        seed: of the study.
        workers: processes; 0 for this one.
        untuned: whether the default settings are repeated too.
    """

    entries: tuple[Entry, ...]
    fixed: tuple[str, ...]
    aside: tuple[str, ...]
    trials: int = 30
    folds: int = 4
    repeats: int = 10
    models: str = ALL
    sampler: str = "tpe"
    prune: float | None = 0.1
    seed: int = 0
    workers: int = 0
    untuned: bool = False

    def words(self, entry: Entry) -> tuple[str, ...]:
        """The overrides of every run of an entry, those that search aside."""
        return (*self.fixed, *entry.words, *self.aside)


def read(words: Sequence[str], config_dir: str | None = None) -> Asked:
    """What a command line asks for.

    Raises:
        InputError: a word that cannot be read, or that the study sets itself.
    """
    own: dict[str, Any] = {}
    for_entry: list[tuple[str, str]] = []
    fixed: list[str] = []
    aside: list[str] = []
    ranges: dict[str, str] = {}
    for word in _with_places(words, config_dir):
        key, _, value = word.partition("=")
        if key in _OWN:
            if key in own:
                raise InputError(f"{key} is given twice")
            own[key] = value
        elif matched := _FOR_ENTRY.fullmatch(word):
            for_entry.append((matched[1], _checked(matched[2])))
        elif _checked(word) in of_search_path([word]) or key.split(".")[0] in _ASIDE:
            aside.append(word)
        elif parse(word).is_sweep_override():
            ranges |= _range(word)
        else:
            fixed.append(word)
    given = {str(parse(word).key_or_group) for word in aside}
    aside += [] if "study" in given else [f"study={STUDY}"]
    aside += [] if any(key.split(".")[0] == "logger" for key in given) else ["logger=files", "logger.figures=false"]
    names = [name for name in own.get("losses", "").split(",") if name]
    if not names:
        raise InputError("give the losses to compare, as in losses=contrastive,triplet/semihard,infonce")
    if len(set(names)) < len(names):
        raise InputError(f"losses={own['losses']}: {next(n for n in names if names.count(n) > 1)} is named twice")
    for name, word in for_entry:
        if name not in names:
            raise InputError(f"{name}:{word}: losses=... names no such entry{nearest(name, names)}")
    entries = tuple(_entry(name, [word for one, word in for_entry if one == name], ranges) for name in names)
    return Asked(entries, tuple(fixed), tuple(aside), **_numbers(own))


def _with_places(words: Sequence[str], config_dir: str | None) -> list[str]:
    own = [word for word in words if word.partition("=")[0] in _OWN or _FOR_ENTRY.fullmatch(word)]
    return [*own, *with_folder([word for word in words if word not in own], config_dir)]


def _checked(word: str) -> str:
    """The same word; refused where the study sets the key itself."""
    key = str(parse(word).key_or_group)
    for one, instead in _NOT_FIXED.items():
        if key == one or (key.startswith(f"{one}.") and one not in ("loss", "callbacks")):
            raise InputError(f"{word}: the study sets {one} itself; {instead}")
    if key.startswith(("hydra/", "hydra.")) and not of_search_path([word]):
        raise InputError(f"{word} is for sweeps: give the number of processes as workers=...")
    return word


def _range(word: str) -> dict[str, str]:
    override = parse(word)
    key = str(override.get_key_element())
    if "." not in key or "/" in key:
        raise InputError(f"{word} gives several values: one data set, trunk and so on is fixed for all entries")
    return {key.lstrip("+"): word.partition("=")[2]}


def _entry(name: str, own: Sequence[str], ranges: Mapping[str, str]) -> Entry:
    if not _ENTRY.fullmatch(name):
        shape = "<loss>, <loss>/<miner>, <loss>/<miner>/<weighting> or <loss>/<miner>/<weighting>/<mixture>"
        raise InputError(f"losses: cannot read '{name}': give {shape}")
    varied = [word for word in own if parse(word).is_sweep_override()]
    mine = dict(ranges)
    for word in varied:
        mine |= _range(word)
    return Entry(name, (*words_of(name), *(word for word in own if word not in varied)), mine)


def _numbers(own: Mapping[str, str]) -> dict[str, Any]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    found: dict[str, Any] = {"workers": cores}
    for key, least in {"trials": 1, "folds": 2, "repeats": 1, "workers": 0, "seed": 0}.items():
        if key in own:
            if not re.fullmatch(r"\d{1,9}", own[key]) or int(own[key]) < least:
                raise InputError(f"{key}={own[key]}: it has to be a whole number of at least {least}")
            found[key] = int(own[key])
    for key, name, choices in (("search", "sampler", SAMPLERS), ("models", "models", MODELS)):
        if key in own:
            if own[key] not in choices:
                raise InputError(f"{key}={own[key]}: it has to be one of {', '.join(choices)}")
            found[name] = own[key]
    if "untuned" in own:
        if own["untuned"] not in ("true", "false"):
            raise InputError(f"untuned={own['untuned']}: it has to be true or false")
        found["untuned"] = own["untuned"] == "true"
    if "prune" in own:
        found["prune"] = _share(own["prune"])
    return found


def _share(text: str) -> float | None:
    if text == "null":
        return None
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share < 1:
        raise InputError(f"prune={text}: it has to be a share of at least 0 and below 1, or null")
    return share
