"""What every run logs to: its own history, and W&B where its config has a section for it."""

from metriscope.run.folder import Run
from metriscope.tracking.base import RunLogger
from metriscope.tracking.history import HistoryLogger
from metriscope.tracking.wandb import build_wandb


def own_loggers(run: Run, global_step: int | None) -> tuple[list[RunLogger], dict[str, int]]:
    """The shipped loggers of a run, the history first.

    Args:
        global_step: that of the checkpoint a resumed run goes on from.

    Returns:
        the loggers, and the last step at which each key had been logged before the run was resumed.
    """
    history = HistoryLogger(run.folder)
    logged = {} if global_step is None else history.resume_from(global_step)
    wandb = build_wandb(run.config, run.folder, (run.record and run.record.wandb_id) or "", logged)
    return [history, *([wandb] if wandb else [])], logged
