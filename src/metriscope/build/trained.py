"""The config and the tested weights of a run, for those who go on with them. Imports no Lightning."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from torch import Tensor

from metriscope import tensor_files
from metriscope.config.evaluates import EVALUATES
from metriscope.config.trainer import evaluates_average
from metriscope.errors import InputError
from metriscope.reading import kind_of
from metriscope.run.configs import read_config
from metriscope.run.record import FINISHED, Record, read_record, read_summary
from metriscope.training.checkpoints import upgrade
from metriscope.training.moving_average import network_of

Which = Literal["best", "last"]


class Trained(NamedTuple):
    """What a run has left of its model.

    Attributes:
        folder: the run folder.
        record: its record.
        config: its nested config.
        checkpoint: the file that was read.
        state: tensors of network, objective and moving average by name.
        inputs: ``shape`` of one input as the data set stores it, and whether it came from image ``files``; empty for a
            run that did not write it down.
    """

    folder: Path
    record: Record
    config: Mapping[str, Any]
    checkpoint: Path
    state: Mapping[str, Tensor]
    inputs: Mapping[str, Any]

    def network(self, averaged: bool | None = None) -> dict[str, Tensor]:
        """The tensors of the network by name.

        Args:
            averaged: whether those of the moving average are meant; None for those that were tested.

        Raises:
            InputError: the run has kept no average.
        """
        if averaged is None:
            averaged = evaluates_average(self.config.get("evaluation") or {})
        try:
            return network_of(self.state, averaged)
        except LookupError as error:
            raise InputError(f"{self.checkpoint}: {error}, as trainer.ema_decay keeps one") from error


def read_trained(folder: Path, which: Which | None = None) -> Trained:
    """Read a run that has finished, or any run of which a checkpoint is named.

    Args:
        folder: the run folder.
        which: the checkpoint; None for the one that was tested: the best, or the last where no validation has
            selected any.

    Raises:
        InputError: it is no run folder, the run is not finished, or its checkpoint is gone or damaged.
    """
    record = _record_of(folder)
    config = read_config(folder)
    if config.get(EVALUATES):
        raise InputError(f"{folder} is an evaluation and has no weights of its own: give the run that it evaluates")
    if which is None:
        if record.status != FINISHED:
            raise InputError(
                f"{folder} is not finished ({record.status}): finish it, or name its checkpoint, best or last"
            )
        which = tested(folder)
    path = folder / "checkpoints" / f"{which}.ckpt"
    checkpoint = _read(path)
    # Lightning stores the state of the data module under its class name.
    inputs = dict(checkpoint.get("DataModule", {})).get("inputs", {})
    return Trained(folder, record, config, path, checkpoint["state_dict"], inputs)


def tested(folder: Path) -> Which:
    """The checkpoint of a finished run that its figures of the test set are of.

    Raises:
        InputError: the run has left no figures.
    """
    return "best" if "best/epoch" in read_summary(folder) else "last"


def _record_of(folder: Path) -> Record:
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder; give the folder of a run, which holds run.json")
    record = read_record(folder)
    if record is None:
        below = (
            sorted(path.parent for path in folder.glob("*/*/seed*/run.json"))[:3]
            or sorted(path.parent for path in folder.glob("*/seed*/run.json"))[:3]
        )
        there = f"; there are runs in it, such as {below[0]}" if below else ""
        raise InputError(f"{folder} is no folder of a run: it holds no run.json{there}")
    return record


def _read(path: Path) -> dict[str, Any]:
    try:
        if (kind := kind_of(path)) is not None:
            raise InputError(f"{path} is {kind}: no checkpoint of a run")
        checkpoint: dict[str, Any] = tensor_files.load(path, mmap=True)
        upgrade(checkpoint, {})
        if not all(isinstance(value, Tensor) for value in checkpoint["state_dict"].values()):
            raise ValueError
    except FileNotFoundError:
        raise InputError(f"{path} is not there: the run has left no such checkpoint") from None
    except (tensor_files.Damaged, tensor_files.Unsafe) as error:
        raise InputError(f"{path} {error}: the run has to be trained again") from error
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except Exception as error:
        raise InputError(f"{path} is no checkpoint of a run") from error
    return checkpoint
