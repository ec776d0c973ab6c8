"""``fair.json``, what a fair comparison is, and ``manifest.json``, which closes its search."""

from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from metriscope.config.evaluates import EVALUATES, ZERO_SHOT
from metriscope.config.evaluating import of_pretrained, only_training
from metriscope.config.rules import check
from metriscope.config.words import parse
from metriscope.errors import InputError
from metriscope.evaluation.monitors import Monitor
from metriscope.fair.models import OF_REPEATS, concatenated_config, model_words
from metriscope.fair.spaces import Compose, Search
from metriscope.fair.words import ALL, FOLDS, Asked
from metriscope.files import write_json
from metriscope.run.fair import (
    DEFINITION,
    FORMAT,
    MANIFEST,
    digest_of_ledger,
    read_signed,
    sealed,
    signed,
    without_seed,
)
from metriscope.run.identity import located
from metriscope.run.ledger import Row, best_of
from metriscope.run.versions import versions


def definition_of(
    asked: Asked, searches: Sequence[Search], configs: Sequence[Mapping[str, Any]], content: Mapping[str, Any],
    goal: Monitor,
) -> dict[str, Any]:  # fmt: skip
    """The content of ``fair.json``.

    Args:
        asked: as the command line says.
        searches: of each entry.
        configs: of each entry's default setting, checked.
        content: fingerprint of the data.
        goal: the metric of the search.
    """
    entries = [
        {"name": one.entry.name, "words": list(one.entry.words), "config": without_seed(config)}
        for one, config in zip(searches, configs, strict=True)
    ]
    # Left out where a repeat is one model, so that the hash is that of earlier versions.
    models = {} if asked.models == ALL else {"models": asked.models}
    return signed({
        "format": FORMAT,
        "entries": entries,
        "spaces": {one.entry.name: dict(one.ranges) for one in searches},
        "trials": asked.trials,
        "folds": asked.folds,
        "repeats": asked.repeats,
        **models,
        **({"untuned": True} if asked.untuned else {}),
        "sampler": asked.sampler,
        "prune": asked.prune,
        "seed": asked.seed,
        "metric": goal.metric,
        "mode": goal.mode,
        "fixed": list(asked.fixed),
        "zero_shot": _zero_shot(asked, configs[0]),
        "data": dict(content),
        "versions": {**versions(), "optuna": metadata.version("optuna")},
    })  # fmt: skip


def begin(folder: Path, definition: Mapping[str, Any]) -> dict[str, Any]:
    """Write ``fair.json`` where it is missing; else check that it says the same.

    Returns:
        its content.

    Raises:
        InputError: the folder holds another comparison, or runs of another kind.
    """
    manifest = sealed(folder)
    if not (folder / DEFINITION).exists():
        if manifest is not None:
            _same(manifest, definition, folder / MANIFEST)
        elif folder.exists() and any(entry.is_dir() for entry in folder.iterdir()):
            raise InputError(f"{folder} holds runs that are not of a fair comparison: set another study")
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / DEFINITION, definition)
    known = read_signed(folder / DEFINITION)
    _same(known, definition, folder / DEFINITION)
    return known


def _same(known: Mapping[str, Any], asked: Mapping[str, Any], path: Path) -> None:
    """Refuse another comparison in the same folder.

    Raises:
        InputError: naming the first thing that differs.
    """
    mine, theirs = _told(asked), _told(known)
    differs = [key for key in {**mine, **theirs} if mine.get(key) != theirs.get(key)]
    if differs:
        key = differs[0]
        raise InputError(
            f"{path} is of another comparison, with {key}: {_shown(theirs.get(key))}, and not {_shown(mine.get(key))}; "
            "restore that, or set another study"
        )


def _told(definition: Mapping[str, Any]) -> dict[str, Any]:
    """What a definition says, flat; causes before their consequences."""
    entries = {one["name"]: one for one in definition["entries"]}
    plain = ("trials", "folds", "repeats", "sampler", "prune", "seed", "metric", "mode", "format")
    return {
        "losses": list(entries),
        "words": definition["fixed"],
        **{key: definition[key] for key in plain},
        "models": definition.get("models", ALL),
        "untuned": "untuned" in definition,
        **{f"words of {name}": one["words"] for name, one in entries.items()},
        **{f"space of {name}": one for name, one in definition["spaces"].items()},
        **{f"version of {name}": one for name, one in definition["versions"].items()},
        **{f"data ({key})": one for key, one in definition["data"].items()},
        "zero-shot row": definition["zero_shot"],
        **{f"config of {name}": one["config"] for name, one in entries.items()},
    }


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:79]}…"


def _zero_shot(asked: Asked, config: Mapping[str, Any]) -> str | None:
    """The identity of the evaluation without training; None for a trunk without pretrained weights."""
    if config["backbone"].get("weights") is None:
        return None
    return without_seed({EVALUATES: ZERO_SHOT, **located(of_pretrained(zero_shot_words(asked)))})


def zero_shot_words(asked: Asked) -> list[str]:
    """The words that evaluate the trunk without training, among those that are fixed."""
    keys = {word: str(parse(word).key_or_group) for word in (*asked.fixed, *asked.aside)}
    kept = [word for word, key in keys.items() if not only_training(key) and key.split(".")[0] != "head"]
    return [*kept, *OF_REPEATS]


def close(
    folder: Path,
    definition: Mapping[str, Any],
    asked: Asked,
    searches: Sequence[Search],
    rows: Sequence[Row],
    compose: Compose,
) -> dict[str, Any]:
    """Write ``manifest.json``, which opens the test classes; one that is there is checked against the ledger.

    Returns:
        its content.

    Raises:
        InputError: the manifest is not that of the ledger.
    """
    chosen: dict[str, list[dict[str, Any]]] = {"winners": [], "untuned": []}
    for search in searches:
        own_rows = [row for row in rows if row.entry == search.entry.name]
        best = best_of(own_rows, definition["mode"])
        default = best_of([row for row in own_rows if row.trial == 0], definition["mode"])
        chosen["winners"] += [] if best is None else [_repeated(asked, search, best, compose)]
        chosen["untuned"] += [] if default is None else [_repeated(asked, search, default, compose)]
    if "untuned" not in definition:
        del chosen["untuned"]
    own = {key: value for key, value in definition.items() if key != "hash"}
    known = sealed(folder)
    # One that an earlier version wrote holds another digest, which has just been checked.
    ledger = digest_of_ledger(folder) if known is None else known["ledger"]
    # The default settings are told by the definition, so that to repeat them opens nothing to choose by.
    wanted = signed({**own, "definition": definition["hash"], **chosen, "ledger": ledger})
    if known is None:
        write_json(folder / MANIFEST, wanted)
    elif known["hash"] != wanted["hash"]:
        raise InputError(f"{folder / MANIFEST} does not follow from {folder / 'ledger.csv'}: set another study")
    return wanted


def _repeated(asked: Asked, search: Search, row: Row, compose: Compose) -> dict[str, Any]:
    """What the manifest says of a trial that is repeated."""
    configs = [located(check(compose(words))) for words in model_words(asked, search, row)]
    return {
        "entry": row.entry, "trial": row.trial, "params": dict(row.params), "value": row.value, "steps": row.steps,
        **_identities(asked, configs),
    }  # fmt: skip


def repeated_trials(manifest: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Entry and number of all trials that are repeated, each once: the winners, and the default settings if asked."""
    both = (*manifest["winners"], *manifest.get("untuned", ()))
    return list(dict.fromkeys((one["entry"], one["trial"]) for one in both))


def _identities(asked: Asked, configs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the runs of its repeats are known by, seed aside."""
    if asked.models != FOLDS:
        return {"config": without_seed(configs[0])}
    return {
        "config": [without_seed(config) for config in configs],
        "concatenated": without_seed(concatenated_config(configs)),
    }
