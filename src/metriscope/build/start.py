"""Where the training of a run starts: at its own checkpoint, at that of a shorter run, or at first weights."""

from collections.abc import Mapping
from typing import Any

import torch

from metriscope.build.extend import extended
from metriscope.build.initial import initialise
from metriscope.build.resume import resumed
from metriscope.run.folder import Run
from metriscope.tracking.checkpoints import Resumed


def start_of(run: Run, module: torch.nn.Module, data: Mapping[str, Any]) -> Resumed | None:
    """The checkpoint that the run goes on from; None where it begins, then with the weights that ``init`` names.

    Args:
        run: the run.
        module: what is trained; gets the weights.
        data: fingerprint of the training data.

    Raises:
        InputError: the data are others than those of the checkpoint, or the weights cannot be taken.
    """
    origin = run if run.resumes else extended(run, data)
    start = resumed(origin, module, data) if origin.resumes else None
    if start is None and run.config.get("init"):
        initialise(run, module, data)
    return start
