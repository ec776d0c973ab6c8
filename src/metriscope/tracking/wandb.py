"""Weights & Biases: a run's logger there, started with the run and guarded."""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.utilities import rank_zero_only

from metriscope.config.plain import flatten
from metriscope.tracking.connection import asked_mode, start
from metriscope.tracking.guard import first_line
from metriscope.tracking.guarded import GuardedLogger

log = logging.getLogger(__name__)

STEP = "trainer/global_step"


class Wandb(WandbLogger):
    """Lightning's W&B logger for a run that was started; it raises whatever W&B does.

    Args:
        run: the W&B run.
    """

    def __init__(self, run: Any) -> None:
        super().__init__(experiment=run, project=run.project, id=run.id, name=run.name, dir=run.settings.root_dir)
        self._counts_steps = True

    def __getstate__(self) -> dict[str, Any]:
        # In a spawned process W&B is a guest of this one's run, where it cannot place rows by step.
        return super().__getstate__() | {"_counts_steps": False}

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        if step is None:
            self.experiment.log(dict(metrics))
            return
        # W&B drops a row whose own step lies behind, as after a resume: it then counts on by itself.
        own = {"step": step} if self._counts_steps and step >= self.experiment.step else {}
        self.experiment.log({**metrics, STEP: step}, **own)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing: the resolved config was given to W&B when the run started."""

    def log_figures(self, paths: Iterable[Path]) -> None:
        """Show PNG files as images, under ``figures/<file name without its end>``."""
        import wandb

        images = {f"figures/{path.stem}": wandb.Image(str(path)) for path in paths}
        if images:
            self.experiment.log(images)

    def log_summary(self, values: Mapping[str, Any]) -> None:
        """Set the final and best values of the run's summary."""
        self.experiment.summary.update(dict(values))

    def finish(self, exit_code: int = 0) -> None:
        """End the W&B run, so that the next one in the process does not join it; failed unless 0."""
        self.experiment.finish(exit_code=exit_code)


def build_wandb(
    cfg: Mapping[str, Any], folder: Path, run_id: str, logged: Mapping[str, int] | None = None
) -> GuardedLogger | None:
    """Start the W&B run of a Metriscope run, or say in one line why there is none.

    Args:
        cfg: the resolved config as plain containers; ``logger.wandb`` has mode, project, entity, group,
            job_type, tags, name and init_timeout (seconds), or is None.
        folder: the run's folder; W&B's files go to ``wandb/`` in it.
        run_id: kept over resumes, so that a resumed run continues the same W&B run.
        logged: what :meth:`HistoryLogger.resume_from` returned, on a resume.

    Mode ``auto`` follows ``WANDB_MODE`` where that is set; else it is online when a key is configured and the
    host answers, and offline otherwise. A run that cannot go online goes offline. Never prompts, and raises no
    failure of W&B.

    Returns:
        None when the mode is ``disabled``, on ranks other than zero, or when W&B cannot be used at all.

    Raises:
        InputError: the mode, or ``WANDB_MODE``, is none that there is.
    """
    options = cfg["logger"].get("wandb")
    if not options:
        return None
    asked = asked_mode(options["mode"])
    if asked == "disabled" or getattr(rank_zero_only, "rank", 0) != 0:
        return None
    sent = (folder / "wandb").is_dir()
    try:
        started = start(
            asked,
            folder,
            init_timeout=options["init_timeout"],
            id=run_id,
            config=flatten(cfg),
            **{key: options[key] for key in ("project", "entity", "group", "job_type", "tags", "name")},
        )
        started.run.define_metric(STEP)
        started.run.define_metric("*", step_metric=STEP, step_sync=True)
    except Exception as error:
        log.warning("W&B could not start (%s): the run goes on with files only", first_line(error))
        return None
    unexpected = asked == "online" and started.mode == "offline"
    log.log(logging.WARNING if unexpected else logging.INFO, "%s", started)
    return GuardedLogger(Wandb(started.run), "W&B", logged if sent else None)
