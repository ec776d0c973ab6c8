"""A finished run that is extended: a longer run of an otherwise equal config goes on from where it ended.

This happens only where the longer run ends as if it had been trained undisturbed, bit for bit.
"""

import logging
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from metriscope import tensor_files
from metriscope.annotations import said
from metriscope.build.initial import differs
from metriscope.config.callbacks import callback_sections
from metriscope.config.entries import entries
from metriscope.config.plain import flatten
from metriscope.data.fingerprint import difference
from metriscope.errors import InputError
from metriscope.files import folder_in, replacing
from metriscope.run.folder import Run
from metriscope.run.history import epochs_trained, lost_epochs, rows_that_read
from metriscope.run.identity import beside, identity
from metriscope.run.record import FINISHED
from metriscope.run.study import StudyRun, load_run
from metriscope.run.versions import versions
from metriscope.training.schedules import knows_the_length

log = logging.getLogger(__name__)

_EPOCHS = "trainer.max_epochs"
# Keys that leave the identity of a run as it is, but not every bit of its checkpoints and history.
_BITS = ("trainer.log_every_n_steps", "trainer.accelerator", "backbone.cache_features", "loss_memory_mb")
# Callbacks that do the same in a longer run.
_CALLBACKS = {f"pytorch_lightning.callbacks.{name}" for name in ("EarlyStopping", "LearningRateMonitor")}
_DECIDING = ("metriscope", "torch", "torchvision", "pytorch-lightning", "torchmetrics", "numpy")


def extended(run: Run, data: Mapping[str, Any]) -> Run:
    """A run that begins, once it holds what the longest finished run that is merely shorter has left.

    The finished run stays as it is. One line says that it is extended, or why not.

    Args:
        run: a run that begins.
        data: fingerprint of its data.

    Returns:
        the run, which then resumes; for other processes than the main one, the shorter run, which they read from, as
        the main one may still copy it. Where nothing is extended, the run as it is.
    """
    reasons: list[str] = []
    if run.config["resume"] == "never":
        return run
    for shorter in _shorter(run):
        assert shorter.folder is not None
        epochs = int(shorter.config[_EPOCHS])
        if why := by_length(run.config) or _unlike(run, shorter, data):
            reasons.append(f"{shorter.folder} of {epochs} epochs is not extended, this run is trained afresh: {why}")
            continue
        if run.is_main:
            _copy(shorter.folder, run.folder)
            log.info("goes on from epoch %s of %s", epochs, shorter.folder)
        run.goes_on(shorter.folder, shorter.record)
        return run if run.is_main else Run(shorter.folder, {**run.config, "resume": "auto"}, None)
    if reasons and run.is_main:
        log.info("%s", reasons[0])
    return run


def _shorter(run: Run) -> Iterator[StudyRun]:
    """Finished runs that differ in nothing but fewer epochs, the longest first."""
    wanted, length = identity(run.config), run.config["trainer"]["max_epochs"]
    found = []
    for folder, record in beside(run.folder).items():
        if record.status != FINISHED or folder == run.folder:
            continue
        try:
            one = load_run(folder)
            epochs = one.config.get(_EPOCHS)
            if isinstance(epochs, int) and epochs < length and identity({**one.config, _EPOCHS: length}) == wanted:
                found.append((epochs, folder.name, one))
        except Exception as error:  # whatever lies there, this run can begin
            log.debug("%s cannot be read: %s", folder, error)
    for _, _, one in sorted(found, key=lambda entry: entry[:2], reverse=True):
        yield one


def by_length(config: Mapping[str, Any]) -> str | None:
    """Why a longer run of this config differs from the first epoch on, or may; None if it does not."""
    trainer, scheduler = config["trainer"], config["scheduler"]
    if knows_the_length(scheduler):
        return f"the {scheduler.get('name')} schedule depends on the length"
    ends = {"max_steps": (None, -1), "max_time": (None,)}
    if limits := [key for key, none in ends.items() if trainer.get(key) not in none]:
        return f"trainer.{limits[0]} limits the training as well"
    if isinstance(trainer.get("val_check_interval"), str | Mapping):
        return "trainer.val_check_interval goes by the clock"
    if (config.get("sweep") or {}).get("trial") is not None:
        return "a search judges all epochs of its trials"
    for where, target in _own_parts(config):
        return f"{where}={target} may depend on the length"
    return None


def _own_parts(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Parts from elsewhere that are told how much of the training is over, or can ask: by their keys."""
    sections = [(group, config.get(group) or {}) for group in ("memory", "references", "weighting", "mixture")]
    for entry in entries(config):
        sections += [(entry.where, entry.loss)]
        sections += [(entry.key_of(part), getattr(entry, part)) for part in ("miner", "distance")]
    for group in ("callbacks", "diagnostics"):
        sections += callback_sections(group, config[group], config["evaluation"])
    for where, section in sections:
        target = str(section.get("_target_", "metriscope."))
        if not target.startswith("metriscope.") and target not in _CALLBACKS:
            yield where, target


def _unlike(run: Run, shorter: StudyRun, data: Mapping[str, Any]) -> str | None:
    """Why a shorter run is no beginning of this one; None if it is."""
    record, epochs, config = shorter.record, int(shorter.config[_EPOCHS]), shorter.config
    if record.data is None:
        return "it does not say on which data it was trained"
    if changed := difference(record.data, data):
        return f"the data are others ({changed})"
    if differs(run.config, record.init):
        return "it began with other weights than init holds now"
    known = versions()
    for name in _DECIDING:
        if record.versions.get(name) not in (None, known[name]):
            return f"it was trained with {name} {record.versions[name]}, here is {known[name]}"
    now = flatten(run.config)
    if others := [key for key in _BITS if config.get(key) != now.get(key)]:
        return f"{others[0]} was {said(config.get(others[0]))}"
    assert shorter.folder is not None
    return _incomplete(shorter.folder, epochs, "best/epoch" in shorter.metrics)


def _incomplete(folder: Path, epochs: int, selects: bool) -> str | None:
    """What a finished run of so many epochs lacks to be gone on from; None if it is whole."""
    try:
        rows, broken = rows_that_read(folder / "metrics.csv")
    except InputError as error:
        return str(error)
    if (trained := epochs_trained(rows)) < epochs and not broken:
        return f"it stopped early, after epoch {trained}"
    if broken or lost_epochs(rows, epochs, -1):
        return "its metrics.csv has lost rows"
    for path in _checkpoints(folder, selects):
        try:
            tensor_files.verify(path)
        except FileNotFoundError:
            return f"its {path.name} is gone"
        except tensor_files.Damaged as error:
            return f"its {path.name} {error}"
        except OSError as error:
            return f"its {path.name} cannot be read: {error.strerror}"
    return None


def _checkpoints(folder: Path, selects: bool) -> list[Path]:
    return [folder / "checkpoints" / f"{name}.ckpt" for name in ("best", "last") if selects or name == "last"]


def _copy(shorter: Path, folder: Path) -> None:
    """Copy what a run resumes from, the last checkpoint last: a run that has it has the rest.

    Raises:
        OSError: there is no room.
    """
    folder_in(folder, "checkpoints")
    for name in ("metrics.csv", "checkpoints/best.ckpt", "checkpoints/last.ckpt"):
        if (shorter / name).exists():
            with replacing(folder / name) as draft:
                shutil.copyfile(shorter / name, draft)
