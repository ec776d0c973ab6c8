"""The shipped loggers of a run: always its own history, and W&B if its config has a section for it."""

from metriscope.run.folder import Run
from metriscope.tracking.base import RunLogger
from metriscope.tracking.history import HistoryLogger
from metriscope.tracking.wandb import build_wandb


def own_loggers(run: Run, global_step: int | None) -> tuple[list[RunLogger], dict[str, int]]:
    """The shipped loggers of a run, the history first.

    Args:
        global_step: the step of the checkpoint from which a run resumes; None for a new run.

    Returns:
        the loggers, and the last step at which each key had been logged before the run was resumed.
    """
    history = HistoryLogger(run.folder)
    logged = {} if global_step is None else history.resume_from(global_step)
    wandb = build_wandb(run.config, run.folder, (run.record and run.record.wandb_id) or "", logged)
    return [history, *([wandb] if wandb else [])], logged
