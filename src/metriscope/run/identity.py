"""Identity of a run (a hash of its config), and the run folder derived from it. Imports no torch."""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from yaml import YAMLError

from metriscope.config.completing import whole_loss
from metriscope.config.defaults import groups
from metriscope.config.evaluates import CONCATENATED, EVALUATES, ZERO_SHOT
from metriscope.config.files import choices, section
from metriscope.config.plain import flatten
from metriscope.config.sections import NO_PART
from metriscope.errors import InputError
from metriscope.evaluation.metrics import following
from metriscope.reading import parse_json, parse_yaml, read_bytes
from metriscope.run.record import FINISHED, FORMAT, Record
from metriscope.run.vocabulary import of_format_2

# Keys that may differ between invocations of the same run: paths, logging, speed.
# Cached decoded images equal newly decoded ones; cached features equal computed ones up to rounding.
_IRRELEVANT = {
    "paths", "logger", "tags", "study", "resume", "scale", "sweep", "loss_memory_mb",
    "dataset.data_dir", "dataset.download", "dataset.num_workers", "dataset.memory_limit_mb", "dataset.image_limit_mb",
    "dataset.cache", "backbone.cache_features",
    "evaluation.memory_mb", "evaluation.save_embeddings", "evaluation.per_query", "evaluation.spectrum",
    "trainer.name", "trainer.accelerator", "trainer.log_every_n_steps",
}  # fmt: skip
# Groups that may have no part.
_ABSENT_BY_NAME = ("references", "weighting", "mixture")
# Keys whose values are paths to files of the user.
_DATA, _WEIGHTS, _TABLE, _INIT = "dataset.path", "backbone.weights", "weighting.table", "init"
_PAIRS = "evaluation.pairs"
LABEL_NOISE = "dataset.label_noise"
"""The share of wrong training labels; keys that begin with it say which they are."""
LABEL_SETS = ("dataset.train_labels", "dataset.test_labels")
"""Which labels a run trains on, and which it is scored by."""
# Values that say what a run without the key does.
_SAID_BY_NONE = {
    "sampler.views": 1, "sampler.labels": "class", "evaluation.weights": "model", **dict.fromkeys(LABEL_SETS, "fine"),
}  # fmt: skip
RUN_FOLDER = re.compile(r"seed\d+-[0-9a-f]{8}")
"""The name of a run folder; one that ``resume=never`` set aside has a number behind it."""
_KEPT = re.compile(r"\.\d+$")
# More than any config or record has.
_BYTES = 2**20


def located(config: Mapping[str, Any]) -> dict[str, Any]:
    """A resolved config with absolute paths to files of the user."""
    found = dict(config)
    if _INIT in found:
        found[_INIT] = _absolute(_INIT, found[_INIT])
    for key in (_DATA, _WEIGHTS, _TABLE, _PAIRS):
        section, name = key.split(".")
        if isinstance(found.get(section), Mapping) and name in found[section]:
            found[section] = {**found[section], name: _absolute(key, found[section][name])}
    return found


def relevant(config: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a resolved config (nested or flat) that can change a result: flat, with dotted keys.

    Null values are left out, so that adding an optional key changes no identity. A ``_target_`` is left out if its
    section has a ``name`` that says which it is, or if it is a class of this package, so that a class may move; any
    other ``_target_`` stays, because it alone says what the section is. The run that ``init`` names goes by its own
    identity, wherever its folder lies. Label noise of 0 is none, one view of an image is what batches
    hold anyway, fine labels are those of data with one set, and weights are evaluated as they are.
    """
    flat = flatten(config)
    if isinstance(flat.get("loss.losses"), list):
        flat["loss.losses"] = [
            whole_loss(entry) if isinstance(entry, Mapping) else entry for entry in flat["loss.losses"]
        ]
    if not flat.get(LABEL_NOISE):
        flat = {key: value for key, value in flat.items() if not key.startswith(LABEL_NOISE)}
    flat = {key: value for key, value in flat.items() if value is None or _SAID_BY_NONE.get(key) != value}
    # A part that is left out says nothing, so that a group that is new orphans no run.
    absent = {f"{group}.name" for group in _ABSENT_BY_NAME if flat.get(f"{group}.name") == NO_PART}
    return {
        key: run_at(value) if key == _INIT else _absolute(key, value)
        for key, value in _said(_with_modes(flat)).items()
        if key not in _IRRELEVANT and key not in absent and key.split(".")[0] not in _IRRELEVANT
    }


def identity(config: Mapping[str, Any]) -> str:
    """Hexadecimal hash of everything in a resolved config that can change a result, in the words of format 2."""
    said = relevant(of_format_2(flatten(config)))
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def identity_here(config: Mapping[str, Any]) -> str:
    """The identity of a run; where the run that ``init`` names is gone, runs of this machine say which it was."""
    source = run_at(config.get(_INIT))
    if source is None or RUN_FOLDER.fullmatch(str(source)):
        return identity(config)
    for record in beside(_folder(config, "0" * 8)).values():
        if record.init and record.init.get("folder") == source:
            return identity({**config, _INIT: str(Path(source).with_name(str(record.init.get("run"))))})
    return identity(config)


def folder_of(config: Mapping[str, Any]) -> Path:
    """``<output_dir>/<study>/<dataset>-<backbone>/<loss>-<miner>/seed<k>-<hash>``.

    In place of ``<loss>-<miner>`` an evaluation has ``<loss>-<miner>-evaluated``, ``<loss>-<miner>-concatenated`` or
    ``zero-shot``.
    If this folder does not exist, a folder beside it that holds the same run is used: an earlier version may have
    hashed the config in another way.
    """
    wanted = identity_here(config)
    folder = _folder(config, wanted)
    return folder if folder.exists() else _earlier(folder, wanted) or folder


def _folder(config: Mapping[str, Any], identity_: str) -> Path:
    return Path(
        config["paths"]["output_dir"],
        config["study"],
        f"{config['dataset']['name']}-{config['backbone']['name']}",
        _method(config),
        f"seed{config['seed']}-{identity_[:8]}",
    )


def _method(config: Mapping[str, Any]) -> str:
    evaluates = config.get(EVALUATES)
    if evaluates == ZERO_SHOT:
        return ZERO_SHOT
    behind = f"-{CONCATENATED if evaluates == CONCATENATED else 'evaluated'}" if evaluates else ""
    return f"{config['loss']['name']}-{config['miner']['name']}{behind}"


def name_without_seed(config: Mapping[str, Any]) -> str:
    """``<dataset>-<backbone>/<loss>-<miner>/<hash>``, the same for all seeds of a config."""
    data = f"{config['dataset']['name']}-{config['backbone']['name']}"
    return f"{data}/{_method(config)}/{identity({**config, 'seed': None})[:8]}"


def study_of(folder: Path, config: Mapping[str, Any]) -> tuple[Path, str]:
    """The output folder and the name of the study in which a run folder lies; those of its config if it lies alone."""
    study = str(config["study"])
    place = folder.resolve()
    named = folder_of({**config, "paths": {"output_dir": ""}, "study": ""})
    if place.parts[-3:-1] != named.parts[-3:-1]:
        return Path(config["paths"]["output_dir"]), study
    above = place.parents[2]
    if above.as_posix().endswith(f"/{study}"):
        return Path(above.as_posix().removesuffix(f"/{study}")), study
    return above.parent, above.name


def holds(folder: Path, record: Record | None, wanted: str) -> bool:
    """Whether a folder with this record holds the run with the identity ``wanted``."""
    if record is None:
        return False
    if record.identity == wanted:
        return True
    if record.format == FORMAT:
        return False
    # Other formats hash in another way, so the identity is computed anew from the config of the folder.
    config = _read(folder / "config.yaml")
    try:
        return bool(config) and identity(config) == wanted
    except Exception:  # no config that a run wrote
        return False


def _earlier(folder: Path, wanted: str) -> Path | None:
    """The folder beside ``folder`` that holds the run; among several, finished ones come first, then later ones."""
    records = beside(folder)
    found = [one for one, record in records.items() if holds(one, record, wanted)]

    def worth(one: Path) -> tuple[bool, str]:
        return records[one].status == FINISHED, str(records[one].started)

    return max(found, key=worth, default=None)


def beside(folder: Path) -> dict[Path, Record]:
    """The readable records of the run folders with the parent and the seed of ``folder``, itself included."""
    name = re.compile(re.escape(folder.name[:-8]) + "[0-9a-f]{8}")
    try:
        with os.scandir(folder.parent) as entries:
            found = sorted(entry.name for entry in entries if name.fullmatch(entry.name))
    except OSError:
        return {}
    return {one: record for name in found if (record := _record(one := folder.with_name(name)))}


def run_at(value: Any) -> Any:
    """The name that a run has by its seed and identity; its absolute path where neither name nor record says them."""
    if not isinstance(value, str) or not value:
        return value
    path = Path(_absolute(_INIT, value))
    name = _KEPT.sub("", path.name)
    if not RUN_FOLDER.fullmatch(name) and (record := _record(path)):
        name = f"seed{record.seed}-{(record.identity or '')[:8]}"
    return name if RUN_FOLDER.fullmatch(name) else str(path)


def _with_modes(flat: Mapping[str, Any]) -> dict[str, Any]:
    """A flat config in which a mode of null is the better end of the monitored metric, as if it had been given."""
    evaluation = {name: flat.get(f"evaluation.{name}") for name in ("monitor", "mode")}
    found = dict(flat)
    for key in ("evaluation.mode", *(key for key in flat if key.startswith("callbacks.") and key.endswith(".mode"))):
        metric = flat.get(f"{key.removesuffix('mode')}monitor")
        if found.get(key) is None and metric is not None:
            found[key] = following(metric, evaluation)
    return found


def _record(folder: Path) -> Record | None:
    """The record of a folder that may hold any run; None where it does not read."""
    try:
        return Record.of(_read(folder / "run.json"))
    except InputError:
        return None


def _said(flat: Mapping[str, Any], group: str = "") -> dict[str, Any]:
    """A flat config, or an entry of a list in a group, without nulls, empty sections and classes that a name says."""
    return {
        key: _said_in(value, key.partition(".")[0])
        for key, value in flat.items()
        if value is not None and value != {} and not _has_a_name(key, value, flat, group)
    }


def _said_in(value: Any, group: str) -> Any:
    if isinstance(value, list | tuple):
        return [_said_in(item, group) for item in value]
    return _said(flatten(value), group) if isinstance(value, Mapping) else value


def _has_a_name(key: str, value: Any, flat: Mapping[str, Any], group: str) -> bool:
    place, _, last = key.rpartition(".")
    if last != "_target_":
        return False
    name = flat.get(f"{place}.name" if place else "name")
    # A class of somebody else's under the name of a shipped choice is another part than that choice.
    by_name = name is not None and _shipped_target(place or group, str(name)) in (None, str(value))
    return by_name or str(value).startswith("metriscope.")


@lru_cache(maxsize=4096)
def _shipped_target(group: str, name: str) -> str | None:
    """The ``_target_`` of a shipped choice; None where there is no such choice, or it has none."""
    if group not in groups() or name not in choices(group):
        return None
    target = section(group, name).get("_target_")
    return None if target is None else str(target)


def _absolute(key: str, value: Any) -> Any:
    """The value of a key; an absolute path if the value is a path to files of the user."""
    if key not in (_DATA, _WEIGHTS, _TABLE, _PAIRS, _INIT) or not isinstance(value, str) or not value:
        return value
    path = Path(value).expanduser()
    # The same rule as in metriscope.models.weights, which tells a file from the name of published weights.
    if key == _WEIGHTS and not (path.is_file() or path.suffix or len(path.parts) > 1):
        return value
    return os.path.abspath(path)


def _read(path: Path) -> Mapping[str, Any]:
    """The mapping in a file of a run; empty if the file is missing or cannot be read."""
    try:
        found = path.lstat()
        content = _parsed(path, (found.st_ino, found.st_size, found.st_mtime_ns))
    except (OSError, ValueError, YAMLError):
        return {}
    return content if isinstance(content, Mapping) else {}


@lru_cache(maxsize=4096)
def _parsed(path: Path, state: tuple[int, ...]) -> Any:
    """The content of a file, cached by its state, since all jobs of a sweep read the same files."""
    content = read_bytes(path, _BYTES)
    return parse_json(content) if path.suffix == ".json" else parse_yaml(content)
