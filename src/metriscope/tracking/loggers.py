"""The shipped loggers of a run: always its own history, and W&B if its config has a section for it."""

from metriscope.run.folder import Run
from metriscope.tracking.base import RunLogger
from metriscope.tracking.checkpoints import Resumed
from metriscope.tracking.history import HistoryLogger
from metriscope.tracking.wandb import build_wandb


def own_loggers(run: Run, resumed: Resumed | None) -> tuple[list[RunLogger], dict[str, int]]:
    """The shipped loggers of a run, the history first.

    Args:
        resumed: the checkpoint that a run goes on from; None for a new run.

    Returns:
        the loggers, and the last step at which each key had been logged before the run was resumed.
    """
    history = HistoryLogger(run.folder)
    every = run.config["trainer"]["log_every_n_steps"]
    logged = {} if resumed is None else history.resume_from(resumed.global_step, resumed.epochs, every)
    wandb = build_wandb(run.config, run.folder, (run.record and run.record.wandb_id) or "", logged)
    return [history, *([wandb] if wandb else [])], logged
