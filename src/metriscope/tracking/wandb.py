"""Logger for Weights & Biases, online or offline, whose failures never stop a run."""

import logging
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.utilities import rank_zero_only

from metriscope.config.plain import flatten
from metriscope.tracking.base import LoggedTable, Picture
from metriscope.tracking.connection import FINISH_SECONDS, UPLOAD_SECONDS, asked_mode, start
from metriscope.tracking.guard import first_line
from metriscope.tracking.guarded import GuardedLogger

log = logging.getLogger(__name__)

_PLACES = ("dataset.data_dir",)

STEP, EPOCH = "trainer/global_step", "epoch"
# What W&B's artifacts are called by, for files of a run folder by their ends.
_KINDS = {".ckpt": "model", ".npz": "embeddings"}


def asks(cfg: Mapping[str, Any], key: str) -> bool:
    """Whether the section of W&B says true for a switch, such as ``tables``."""
    options = cfg["logger"].get("wandb")
    return bool(options and options.get(key))


class Wandb(WandbLogger):
    """Lightning's W&B logger for a started W&B run; failures are raised.

    Args:
        run: the started W&B run.
    """

    def __init__(self, run: Any) -> None:
        super().__init__(experiment=run, project=run.project, id=run.id, name=run.name, dir=run.settings.root_dir)
        self._counts_steps = True
        self._defined: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        # A spawned process attaches to the W&B run of this process, and cannot set the step of a row there.
        return super().__getstate__() | {"_counts_steps": False}

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        if step is None:
            self.experiment.log(dict(metrics))
            return
        for key in metrics.keys() - self._defined - {EPOCH}:
            # A pattern could not tell values of steps, whose keys end alike, from those of epochs.
            self.experiment.define_metric(key, step_metric=STEP if key.endswith("_step") else EPOCH)
            self._defined.add(key)
        # W&B drops a row with a step below its own, as after a resume; without a step it counts rows itself.
        own = {"step": step} if self._counts_steps and step >= self.experiment.step else {}
        self.experiment.log({**metrics, STEP: step}, **own)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Does nothing: W&B got the resolved config when the run started."""

    def log_figures(self, paths: Iterable[Path]) -> None:
        """Show PNG files as images, under ``figures/<file name without its end>``."""
        import wandb

        images = {f"figures/{path.stem}": wandb.Image(str(path)) for path in paths}
        if images:
            self.experiment.log(images)

    def log_summary(self, values: Mapping[str, Any]) -> None:
        """Set the final and best values of the run's summary."""
        self.experiment.summary.update(dict(values))

    def log_tables(self, tables: Mapping[str, LoggedTable]) -> None:
        """Show tables under ``tables/<name>``."""
        import wandb

        def cell(value: Any) -> Any:
            return wandb.Image(value.pixels, caption=value.words) if isinstance(value, Picture) else value

        shown = {
            f"tables/{name}": wandb.Table(list(table.columns), [[cell(value) for value in row] for row in table.rows])
            for name, table in tables.items()
        }
        if shown:
            self.experiment.log(shown)

    def log_artifacts(self, paths: Iterable[Path], metadata: Mapping[str, Any]) -> None:
        """Send each file as an artifact ``<name of the run>-<its id>-<kind>``; a resumed run adds a version."""
        import wandb

        run = self.experiment
        # By split, because W&B takes at most 100 keys.
        described: dict[str, dict[str, Any]] = {}
        for key, value in metadata.items():
            if math.isfinite(value):
                split, _, measure = key.partition("/")
                described.setdefault(split, {})[measure] = value
        for path in paths:
            kind = _KINDS.get(path.suffix, "file")
            name = re.sub(r"[^A-Za-z0-9_.-]", "-", f"{run.name}"[:80]) + f"-{run.id}-{kind}"
            artifact = wandb.Artifact(name, type=kind, metadata=described)
            # The file stays as it is, so that W&B needs no copy of it below the home folder.
            artifact.add_file(str(path), policy="immutable", skip_cache=True)
            run.log_artifact(artifact, aliases=[path.stem, "latest"])

    def finish(self, exit_code: int = 0) -> None:
        """End the W&B run, so that the next run of the process does not join it; ``exit_code`` 0 means success.

        Raises:
            TimeoutError: W&B did not take everything in time.
        """
        self.experiment.finish(exit_code=exit_code)


def _sent(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """The flat config without the folders of this machine."""
    return {key: value for key, value in flatten(cfg).items() if key not in _PLACES and not key.startswith("paths.")}


def build_wandb(
    cfg: Mapping[str, Any], folder: Path, run_id: str, logged: Mapping[str, int] | None = None
) -> GuardedLogger | None:
    """Start the W&B run of a Metriscope run; if there is none, log the reason in one line.

    Args:
        cfg: the resolved config as plain containers; ``logger.wandb`` has mode, project, entity, group,
            job_type, tags, name and init_timeout (seconds), or is None.
        folder: the run's folder; W&B's files go to ``wandb/`` in it.
        run_id: id of the W&B run; a resumed run with the same id continues it.
        logged: result of :meth:`HistoryLogger.resume_from`, on a resume.

    Mode ``auto`` uses ``WANDB_MODE`` if set; otherwise it is online if a key is configured and the
    host answers, and offline if not. A run that cannot go online goes offline. Never prompts, and no failure of
    W&B raises.

    Returns:
        None when the mode is ``disabled``, on ranks other than zero, or when W&B cannot be used at all.

    Raises:
        InputError: the mode, or ``WANDB_MODE``, does not exist.
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
            finish_timeout=UPLOAD_SECONDS if options.get("checkpoint") else FINISH_SECONDS,
            id=run_id,
            config=_sent(cfg),
            **{key: options[key] for key in ("project", "entity", "group", "job_type", "tags", "name")},
        )
        started.run.define_metric(STEP)
        started.run.define_metric(EPOCH)
        started.run.define_metric("*", step_metric=STEP, step_sync=True)
    except Exception as error:
        log.warning("W&B could not start (%s): the run goes on with files only", first_line(error))
        return None
    unexpected = asked == "online" and started.mode == "offline"
    log.log(logging.WARNING if unexpected else logging.INFO, "%s", started)
    sync = started.sync if started.mode == "online" else None
    return GuardedLogger(Wandb(started.run), "W&B", logged if sent else None, sync)
