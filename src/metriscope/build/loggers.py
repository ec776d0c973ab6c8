"""From the config of a run to its loggers."""

from metriscope.run.folder import Run
from metriscope.tracking.history import HistoryLogger
from metriscope.tracking.loggers import Loggers
from metriscope.tracking.wandb import build_wandb


def build_loggers(run: Run, global_step: int | None) -> Loggers:
    """History and W&B; ``global_step`` is that of the checkpoint a resumed run goes on from."""
    history = HistoryLogger(run.folder)
    logged = None if global_step is None else history.resume_from(global_step)
    return Loggers(history, build_wandb(run.config, run.folder, (run.record and run.record.wandb_id) or "", logged))
