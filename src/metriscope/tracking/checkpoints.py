"""Checkpoints that are either the old one or the new one, never half of one."""

from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins import TorchCheckpointIO

from metriscope.files import replacing


class WholeCheckpoints(TorchCheckpointIO):
    """Writes beside the checkpoint, then renames.

    Lightning's own writes to the system's temporary folder and moves from there: across file systems that is a copy,
    which a killed process leaves half done.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        with replacing(Path(path)) as draft, draft.open("wb") as file:
            torch.save(checkpoint, file)
