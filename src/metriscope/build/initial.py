"""First weights of a run from another run: what fits is taken, and one line says what is not."""

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metriscope import tensor_files
from metriscope.annotations import said
from metriscope.config.entries import entries
from metriscope.config.sections import SECTIONS
from metriscope.data.fingerprint import difference
from metriscope.errors import InputError
from metriscope.objectives.state import SampleState
from metriscope.run.folder import Run
from metriscope.run.identity import run_at
from metriscope.run.source import Source, source_of
from metriscope.run.study import load_run
from metriscope.training.checkpoints import upgrade
from metriscope.training.moving_average import evaluated_state

log = logging.getLogger(__name__)

_TRUNK, _HEAD = "embedder.trunk.", "embedder.head."
# Parts of an objective that learn; what a memory holds are embeddings of another training.
_PART = re.compile(r"objective\.(?:objectives\.(?P<place>\d+)\.)?(?P<part>loss|distance|miner|weighting)\.")

State = Mapping[str, Tensor]


def initialise(run: Run, module: torch.nn.Module, data: Mapping[str, Any]) -> None:
    """Fill a module with the weights of the run that ``init`` names, and record where they come from.

    The trunk is taken in any case, the head where it has the same layers. Parameters and state of a loss, a distance, a
    miner or a weighting are taken where it is the same class with the same shapes; state of single samples only on the
    same data.

    Args:
        run: a run that begins.
        module: the learner of the run.
        data: fingerprint of the training data.

    Raises:
        InputError: there is no such run, its checkpoint cannot be read, or its trunk is another one.
    """
    source = source_of(Path(run.config["init"]), run.folder)
    key, path = f"init={source.folder}", source.checkpoint
    digest, state, epoch = _read(source, module)
    wanted = module.state_dict()
    if misfit := _misfit(state, wanted, _TRUNK):
        raise InputError(f"{key}: the trunk is another one, {misfit}: {_settings(run.config, source)}")
    taken = _below(state, wanted, _TRUNK)
    names, told = ["trunk"], []
    if misfit := _misfit(state, wanted, _HEAD):
        told.append(f"the head begins anew ({misfit})")
    elif head := _below(state, wanted, _HEAD):
        taken |= head
        names.append("head")
    for part, found, why in _objective(run, source, module, state, data):
        taken |= found
        names += [part] if found and part not in names else []
        told += [f"{part} {'begins' if part.endswith('samples') else 'begin'} anew ({why})"] if why else []
    if run.config["backbone"].get("weights") is not None:
        told.append(f"backbone.weights={run.config['backbone']['weights']} is not loaded")
    module.load_state_dict(taken, strict=False)
    origin = {"folder": str(source.folder), "run": run_at(str(source.folder))}
    run.record_init({**origin, "checkpoint": path.name, "epoch": epoch, "digest": digest})
    if run.is_main:
        line = f"{key}: {_listed(names)} taken from {path.name} of epoch {epoch}"
        log.info("%s", "; ".join([line, *dict.fromkeys(told)]))


def check_unchanged(run: Run) -> None:
    """Refuse first weights that differ from those that a run began with; they may be gone.

    Raises:
        InputError: the run that ``init`` names was trained since.
    """
    if (run.finished or run.resumes) and run.record and differs(run.config, run.record.init):
        raise InputError(
            f"init={run.config['init']} is not what {run.folder} began with, it was trained since: restore it, or set "
            "resume=never to run afresh"
        )


def differs(config: Mapping[str, Any], origin: Mapping[str, Any] | None) -> bool:
    """Whether the run that ``init`` names holds another checkpoint than that of an earlier beginning."""
    if not config.get("init") or not origin:
        return False
    try:
        now = tensor_files.seal_of(Path(config["init"], "checkpoints", str(origin.get("checkpoint"))))
    except OSError:
        return False
    return now != origin.get("digest")


def _read(source: Source, module: torch.nn.Module) -> tuple[str, State, int]:
    """Digest, weights in the names of today, and epoch of a checkpoint."""
    path = source.checkpoint
    try:
        digest = tensor_files.seal_of(path)
        checkpoint = tensor_files.load(path)
        found = {key: checkpoint[key] for key in ("state_dict", "epoch", "metriscope") if key in checkpoint}
        upgrade(found, module.state_dict())
        state = {key: value for key, value in found["state_dict"].items() if isinstance(value, Tensor)}
        state = evaluated_state(state, _tests_average(source))
        return digest, state, int(found["epoch"])
    except InputError as error:
        raise InputError(f"init={source.folder}: {path.name}: {error}") from error
    except (tensor_files.Damaged, tensor_files.Unsafe) as error:
        raise InputError(f"init={source.folder}: {path.name} {error}; give another run") from error
    except OSError as error:
        raise InputError(f"init={source.folder}: {path.name} cannot be read: {error.strerror}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"init={source.folder}: {path.name} is no checkpoint of a run; give another run") from error


def _tests_average(source: Source) -> bool:
    try:
        return load_run(source.folder).config.get("evaluation.weights") == "ema"
    except InputError:
        return False


def _below(state: State, wanted: State, prefix: str) -> dict[str, Tensor]:
    return {key: state[key] for key in wanted if key.startswith(prefix) and key in state}


def _misfit(state: State, wanted: State, prefix: str) -> str | None:
    """The first tensor below ``prefix`` that differs in shape, or that only one side has."""
    here = {key: value for key, value in wanted.items() if key.startswith(prefix)}
    there = {key: value for key, value in state.items() if key.startswith(prefix)}
    for key in (*here, *there):
        name = key.removeprefix("embedder.").removeprefix("objective.")
        if key not in there:
            return f"{name} is {tuple(here[key].shape)} here and missing there"
        if key not in here:
            return f"{name} is {tuple(there[key].shape)} there and missing here"
        if here[key].shape != there[key].shape:
            return f"{name} is {tuple(there[key].shape)} there and {tuple(here[key].shape)} here"
    return None


def _settings(config: Mapping[str, Any], source: Source) -> str:
    """What to set for the trunk of a run."""
    try:
        there = load_run(source.folder).config
    except InputError:
        return "choose the backbone and the inputs of that run"
    here = config["backbone"]
    own = {key.removeprefix("backbone."): value for key, value in there.items() if key.startswith("backbone.")}
    if (own.get("library"), own.get("name")) != (here.get("library"), here.get("name")):
        library = own.get("library")
        return f"set backbone={library} backbone.name={own['name']}" if library else f"set backbone={own.get('name')}"
    shape = [key for key in own if key not in SECTIONS["backbone"].others and own[key] != here.get(key)]
    if shape:
        return "set " + " ".join(f"backbone.{key}={said(own[key])}" for key in shape)
    return "the inputs have another shape, so choose data and augmentation as there"


def _objective(
    run: Run, source: Source, module: torch.nn.Module, state: State, data: Mapping[str, Any]
) -> list[tuple[str, dict[str, Tensor], str]]:
    """For each part with parameters or state: its name, what of it is taken, and why not all of it."""
    wanted = module.state_dict()
    mine, theirs = _classes(run.config), _classes_of(source)
    of_samples = tuple(f"{name}." for name, one in module.named_modules() if isinstance(one, SampleState) and name)
    changed = difference(source.record.data or {}, data)
    found: list[tuple[str, dict[str, Tensor], str]] = []
    for prefix in dict.fromkeys(match.group() for key in wanted if (match := _PART.match(key))):
        match = _PART.match(prefix)
        assert match is not None
        place, part = int(match["place"] or 0), match["part"]
        what = f"{part} parameters"
        if mine.get((place, part)) != theirs.get((place, part)):
            there, here = (" ".join(side.get((place, part)) or ("nothing",)) for side in (theirs, mine))
            found.append((what, {}, f"{there} there, {here} here"))
            continue
        if misfit := _misfit(state, wanted, prefix):
            found.append((what, {}, _counted(source, data) or misfit))
            continue
        whole = _below(state, wanted, prefix)
        samples = {key for key in whole if key.startswith(of_samples)} if of_samples else set()
        if samples and changed:
            found.append(("state of samples", {}, f"the data are others: {changed} there"))
            whole = {key: value for key, value in whole.items() if key not in samples}
        if whole:
            found.append((what, whole, ""))
    return found


def _classes_of(source: Source) -> dict[tuple[int, str], tuple[str, ...]]:
    try:
        flat = load_run(source.folder).config
    except InputError:
        return {}
    groups = ("loss", "miner", "distance", "weighting")
    return _classes(
        {group: {k.partition(".")[2]: v for k, v in flat.items() if k.startswith(f"{group}.")} for group in groups}
    )


def _classes(config: Mapping[str, Any]) -> dict[tuple[int, str], tuple[str, ...]]:
    """What says the class of each part of an objective, by the objective's number: a shipped class goes by its name."""
    found: dict[tuple[int, str], tuple[str, ...]] = {}
    for place, entry in enumerate(entries(config)):
        sections = {"loss": entry.loss, "miner": entry.miner, "distance": entry.distance}
        for part, section in {**sections, "weighting": config.get("weighting") or {}}.items():
            target, name = str(section.get("_target_")), str(section.get("name"))
            found[place, part] = (name,) if target.startswith("metriscope.") else (name, target)
    return found


def _counted(source: Source, data: Mapping[str, Any]) -> str | None:
    """The training classes or samples of both runs, where their numbers differ."""
    try:
        there, here = (one["content"]["parts"]["train"] for one in (source.record.data or {}, data))
        for number, noun in ((1, "classes"), (0, "training samples")):
            if there[number] != here[number]:
                return f"{there[number]} {noun} there, {here[number]} here"
    except (KeyError, TypeError, IndexError):
        return None
    return None


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
