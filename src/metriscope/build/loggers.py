"""Builds the loggers of a run from its config."""

from metriscope.run.folder import Run
from metriscope.tracking.history import HistoryLogger
from metriscope.tracking.loggers import Loggers
from metriscope.tracking.wandb import build_wandb


def build_loggers(run: Run, global_step: int | None) -> Loggers:
    """History and W&B; ``global_step`` is the step of the checkpoint from which a run resumes."""
    history = HistoryLogger(run.folder)
    logged = None if global_step is None else history.resume_from(global_step)
    return Loggers(history, build_wandb(run.config, run.folder, run.record.get("wandb_id", ""), logged))
