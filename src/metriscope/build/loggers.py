"""From a composed config to the loggers of a run."""

from omegaconf import DictConfig

from metriscope.config.plain import plain
from metriscope.run.folder import Run
from metriscope.tracking.history import HistoryLogger
from metriscope.tracking.loggers import Loggers
from metriscope.tracking.wandb import build_wandb


def build_loggers(cfg: DictConfig, run: Run, global_step: int | None) -> Loggers:
    """History and W&B; ``global_step`` is that of the checkpoint a resumed run goes on from."""
    history = HistoryLogger(run.folder)
    logged = None if global_step is None else history.resume_from(global_step)
    return Loggers(history, build_wandb(plain(cfg), run.folder, run.record.get("wandb_id", ""), logged))
