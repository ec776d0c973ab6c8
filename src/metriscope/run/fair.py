"""Files of a fair comparison in the folder of its study, and the seal on test classes. Imports no torch.

A study whose folder holds ``fair.json`` evaluates nothing on test classes until ``manifest.json`` says that every
search is closed; then its own repeats run in it, and nothing else.
"""

import csv
import hashlib
import io
import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metriscope.config.evaluates import EVALUATES, ZERO_SHOT
from metriscope.errors import InputError
from metriscope.reading import parse_json, read_bytes
from metriscope.run.identity import identity

FORMAT = 1
"""Format number of the files of a fair comparison."""
DEFINITION, LEDGER, MANIFEST = "fair.json", "ledger.csv", "manifest.json"
_BYTES = 2**24
_TIME = "seconds"
_ELSEWHERE = "set another study"


def hash_of(content: Mapping[str, Any]) -> str:
    """SHA-256 of plain values, whatever the order of their keys; a ``hash`` among them is left out."""
    said = {key: value for key, value in content.items() if key != "hash"}
    return hashlib.sha256(json.dumps(said, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def signed(content: Mapping[str, Any]) -> dict[str, Any]:
    """The same content with its hash."""
    return {**content, "hash": hash_of(content)}


def read_signed(path: Path) -> dict[str, Any]:
    """The content of ``fair.json`` or ``manifest.json``.

    Raises:
        InputError: it is missing, does not read, was edited, or a later version wrote it.
    """
    try:
        content = parse_json(read_bytes(path, _BYTES))
    except (OSError, ValueError) as error:
        line = " ".join(str(error).split())[:160]
        raise InputError(f"{path} is not readable ({line}): restore it, or {_ELSEWHERE}") from error
    if not isinstance(content, dict) or content.get("hash") != hash_of(content):
        raise InputError(f"{path} was edited, its hash is not that of its content: restore it, or {_ELSEWHERE}")
    if content.get("format") != FORMAT:
        raise InputError(f"{path} has format {content.get('format')}, this version reads {FORMAT}: {_ELSEWHERE}")
    return dict(content)


def digest_of_ledger(folder: Path) -> str:
    """SHA-256 of the ledger in a study's folder without its column ``seconds``.

    A search that was interrupted, or that ran on another machine, has the same digest.

    Raises:
        InputError: it cannot be read.
    """
    return _digests(folder)[0]


def _digests(folder: Path) -> tuple[str, str]:
    """The digest without times, and that of the whole file, which the manifests of earlier versions hold."""
    path = folder / LEDGER
    try:
        content = read_bytes(path, _BYTES)
        lines = list(csv.reader(io.StringIO(content.decode(), newline="")))
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path} is not readable ({error}): restore it, or {_ELSEWHERE}") from error
    head = lines[0] if lines else []
    place = head.index(_TIME) if _TIME in head else len(head)
    kept = [[*line[:place], *line[place + 1 :]] for line in lines]
    return hashlib.sha256(json.dumps(kept).encode()).hexdigest(), hashlib.sha256(content).hexdigest()


def is_fair(folder: Path) -> bool:
    """Whether a folder is that of a fair comparison."""
    return (folder / DEFINITION).exists() or (folder / MANIFEST).exists()


def sealed(folder: Path) -> dict[str, Any] | None:
    """The manifest of a fair comparison; None while it searches.

    Raises:
        InputError: manifest, definition or ledger were edited, or do not belong to each other.
    """
    if not (folder / MANIFEST).exists():
        return None
    manifest = read_signed(folder / MANIFEST)
    if manifest.get("ledger") not in _digests(folder):
        raise InputError(f"{folder / LEDGER} is not the ledger of {folder / MANIFEST}: restore it, or {_ELSEWHERE}")
    if (folder / DEFINITION).exists() and read_signed(folder / DEFINITION)["hash"] != manifest.get("definition"):
        raise InputError(f"{folder / DEFINITION} is not that of {folder / MANIFEST}: restore it, or {_ELSEWHERE}")
    return manifest


def without_seed(config: Mapping[str, Any]) -> str:
    """The identity of a run's config, seed aside."""
    return identity({**config, "seed": None})


def entries_by_config(manifest: Mapping[str, Any], kind: str = "winners") -> dict[str, str]:
    """The entry of each config that repeats may have, by the identity of the config, seed aside.

    Args:
        manifest: of the comparison.
        kind: ``winners``, or ``untuned`` for those of the default settings, if these are repeated.
    """
    found = {}
    for one in manifest.get(kind, ()):
        own = one["config"]
        models = [own] if isinstance(own, str) else [*own, one["concatenated"]]
        found.update({str(model): str(one["entry"]) for model in models})
    return found


def words_of(entry: str) -> tuple[str, ...]:
    """The words that choose the parts of an entry: loss, miner, weighting and mixture, with slashes between them."""
    groups = ("loss", "miner", "weighting", "mixture")
    return tuple(f"{group}={choice}" for group, choice in zip(groups, entry.split("/"), strict=False) if choice)


def command(definition: Mapping[str, Any]) -> str:
    """The command line of a comparison, without ranges that it gave and without places.

    Args:
        definition: the content of ``fair.json`` or of ``manifest.json``.
    """
    entries = definition["entries"]
    own = [f"{one['name']}:{word}" for one in entries for word in one["words"] if word not in words_of(one["name"])]
    said = {"trials": "trials", "folds": "folds", "repeats": "repeats", "models": "models", "search": "sampler",
            "prune": "prune", "seed": "seed"}  # fmt: skip
    budget = [
        f"{word}={'null' if definition[key] is None else definition[key]}"
        for word, key in said.items()
        if key in definition
    ]
    budget += ["untuned=true"] if "untuned" in definition else []
    losses = f"losses={','.join(one['name'] for one in entries)}"
    return shlex.join(["metriscope", "fair", losses, *definition["fixed"], *own, *budget])


def seal_on(config: Mapping[str, Any]) -> str | None:
    """The hash of the manifest that lets a run test in the folder of its study; None outside of fair comparisons.

    Args:
        config: resolved, of a run that will be tested, or of an evaluation.

    Raises:
        InputError: the study is a fair comparison, and the search is not closed or the run is none of its repeats.
    """
    root = Path(config["paths"]["output_dir"])
    study = root / str(config["study"])
    for folder in (study, *(above for above in study.parents if above.is_relative_to(root))):
        if is_fair(folder):
            return _admitted(config, folder, own=folder == study)
    return None


def _admitted(config: Mapping[str, Any], folder: Path, own: bool) -> str:
    manifest = sealed(folder)
    if manifest is None:
        raise InputError(
            f"{folder} is a fair comparison that still searches, so nothing may be evaluated on its test classes: let "
            f"metriscope fair finish, or {_ELSEWHERE}"
        )
    wanted = without_seed(config)
    if config.get(EVALUATES) == ZERO_SHOT:
        known = wanted == manifest["zero_shot"]
    else:
        seeds = range(manifest["seed"], manifest["seed"] + manifest["repeats"])
        repeated = entries_by_config(manifest) | entries_by_config(manifest, "untuned")
        known = config["seed"] in seeds and wanted in repeated
    if not (own and known):
        raise InputError(f"{folder} is a fair comparison, and this run is none of its repeats: {_ELSEWHERE}")
    return str(manifest["hash"])
