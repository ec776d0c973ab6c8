"""TensorBoard: event files below ``tensorboard/`` in the run folder."""

import importlib.util
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pytorch_lightning.loggers import TensorBoardLogger

from metriscope.errors import InputError


class TensorBoard(TensorBoardLogger):
    """Lightning's TensorBoard logger, which shows a run's figures and its final values, too.

    Args:
        folder: the run's folder.
        name: folder in it for the event files.

    Raises:
        InputError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path, name: str = "tensorboard") -> None:
        if importlib.util.find_spec("tensorboard") is None:
            raise InputError("logging to TensorBoard needs a package: pip install tensorboard")
        super().__init__(folder, name=name, version="", default_hp_metric=False)

    def log_figures(self, paths: Iterable[Path]) -> None:
        """Show PNG files as images, under ``figures/<file name without its end>``."""
        for path in paths:
            with Image.open(path) as image:
                pixels = np.asarray(image.convert("RGB"))
            self.experiment.add_image(f"figures/{path.stem}", pixels, dataformats="HWC")

    def log_summary(self, values: Mapping[str, Any]) -> None:
        """Show final values under ``summary/``, and beside the config in the table of hyperparameters."""
        self.log_hyperparams(dict(self.hparams), {f"summary/{key}": float(value) for key, value in values.items()})
