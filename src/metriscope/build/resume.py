"""Which checkpoints of a run are whole: the one that it resumes from, and the one that is tested."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from metriscope import tensor_files
from metriscope.data.datamodule import DataModule
from metriscope.data.fingerprint import check_same, difference
from metriscope.errors import InputError, RunError
from metriscope.run.folder import Run
from metriscope.run.history import Selected
from metriscope.tracking.checkpoints import Resumed
from metriscope.training.checkpoints import upgrade

log = logging.getLogger(__name__)


def resumed(run: Run, module: torch.nn.Module, data: Mapping[str, Any]) -> Resumed | None:
    """The newest checkpoint that is whole; others are set aside. None if none is: the run then begins afresh.

    Args:
        run: a run that resumes.
        module: what is trained.
        data: fingerprint of the training data.

    Raises:
        InputError: the data are others than those of the checkpoint, a later version wrote it, or the config says
            that the run must resume.
    """
    for path in run.generations:
        try:
            return _usable(path, run, module, data)
        except FileNotFoundError:
            continue
        except (tensor_files.Damaged, OSError) as error:
            run.set_aside(path, _reason(error))
    run.begin_afresh()
    if run.is_main:
        log.warning("no checkpoint of %s can be used: it is trained afresh", run.folder)
    return None


def _usable(path: Path, run: Run, module: torch.nn.Module, data: Mapping[str, Any]) -> Resumed:
    state = _read(path)
    try:
        step, epochs = int(state["global_step"]), _epochs(state)
        # Lightning stores the state of a data module under its class name.
        known = state.get(DataModule.__qualname__, {})
        needs_best = any(_is_best(one) for one in state.get("callbacks", {}).values())
    except Exception as error:
        raise tensor_files.Damaged("is no checkpoint of a run") from error
    if "fingerprint" in known and run.data and difference(run.data, known["fingerprint"]):
        raise tensor_files.Damaged("is of a run on other data")
    if "fingerprint" in known:
        check_same(known["fingerprint"], data, run.folder)
    _check_tensors(state, module)
    if needs_best:
        try:
            _check_tensors(_read(run.best_checkpoint), module)
        except FileNotFoundError:
            raise tensor_files.Damaged(f"is of no use without {run.best_checkpoint.name}, which is gone") from None
        except (tensor_files.Damaged, OSError) as error:
            run.set_aside(run.best_checkpoint, _reason(error))
            raise tensor_files.Damaged(f"is of no use without {run.best_checkpoint.name}") from error
    return Resumed(path, step, epochs)


def selected(run: Run, trainer: pl.Trainer, module: torch.nn.Module) -> Selected | None:
    """When ``best.ckpt`` was saved, once it is verified; None if no validation has selected any.

    Args:
        run, trainer, module: of the run, after its training.

    Raises:
        RunError: it is gone or damaged, so that there is nothing to test.
    """
    if not any(_is_best(one.state_dict()) for one in trainer.checkpoint_callbacks):
        return None
    path, again = run.best_checkpoint, f"nothing is tested; the same command trains {run.folder} afresh"
    try:
        state = _read(path)
        _check_tensors(state, module)
        return Selected(int(state["epoch"]), int(state["global_step"]))
    except FileNotFoundError:
        raise RunError(f"{path} is gone: {again}") from None
    except (tensor_files.Damaged, OSError) as error:
        run.set_aside(path, _reason(error))
        raise RunError(f"{path} cannot be used: {again}") from error


def _read(path: Path) -> Any:
    try:
        return tensor_files.load(path, mmap=True)
    except tensor_files.Unsafe as error:
        raise InputError(f"{path} {error}; resume=never trains afresh") from error


def _check_tensors(state: Any, module: torch.nn.Module) -> None:
    """Raises ``Damaged`` where a checkpoint is none, or does not hold the tensors of ``module``."""
    wanted = module.state_dict()
    try:
        found = {"state_dict": dict(state["state_dict"]), **{key: state[key] for key in state if key == "metriscope"}}
        int(state["epoch"]), int(state["global_step"])
    except Exception as error:
        raise tensor_files.Damaged("is no checkpoint of a run") from error
    upgrade(found, wanted)
    if _shapes(found["state_dict"]) != _shapes(wanted):
        raise tensor_files.Damaged("has tensors other than those of this network and loss")


def _reason(error: Exception) -> str:
    return f"cannot be read: {error.strerror}" if isinstance(error, OSError) else str(error)


def _epochs(state: Mapping[str, Any]) -> int:
    return int(state["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"])


def _is_best(callback: Any) -> bool:
    """Whether this is the state of the callback that selects ``best.ckpt``, and it has selected one."""
    if not (isinstance(callback, Mapping) and callback.get("monitor")):
        return False
    return Path(callback.get("best_model_path") or "").name == "best.ckpt"


def _shapes(state: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value.shape) for key, value in state.items() if isinstance(value, torch.Tensor)}
