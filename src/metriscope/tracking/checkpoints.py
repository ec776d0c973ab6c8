"""Atomic checkpoint files: a checkpoint is replaced as a whole or not at all."""

from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins import TorchCheckpointIO

from metriscope.files import replacing


class WholeCheckpoints(TorchCheckpointIO):
    """Writes to a temporary file beside the checkpoint, then renames it.

    Lightning writes to the system's temporary folder and moves the file: across file systems this is a copy, which
    stays incomplete if the process is killed.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        with replacing(Path(path)) as draft, draft.open("wb") as file:
            torch.save(checkpoint, file)
