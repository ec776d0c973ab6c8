"""Models in folders: of a run, or exported."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from metriscope.build.trained import Which, read_trained
from metriscope.errors import InputError
from metriscope.serving.description import Description

_PREFIX = "embedder."


def stored(folder: Path, which: Which | None = None) -> tuple[Description, Mapping[str, Tensor]]:
    """What a model is, and the tensors of its network by name.

    Args:
        folder: of a run.
        which: its checkpoint; None for the one that was tested.

    Raises:
        InputError: the folder holds no model, the run is not finished, or a file is damaged.
    """
    if which not in (None, "best", "last"):
        raise InputError(f"checkpoint={which}: choose best or last")
    run = read_trained(folder, which)
    state = {key.removeprefix(_PREFIX): value for key, value in run.state.items() if key.startswith(_PREFIX)}
    return Description.of_run(run), state
