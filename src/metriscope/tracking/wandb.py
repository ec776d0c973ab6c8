"""Logger for Weights & Biases, online or offline, whose failures never stop a run."""

import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.utilities import rank_zero_only

from metriscope.config.plain import flatten
from metriscope.tracking.connection import Mode, asked_mode, choose_mode

log = logging.getLogger(__name__)

STEP = "trainer/global_step"
FINISH_SECONDS = 120


class GuardedWandb(WandbLogger):
    """Lightning's W&B logger without exceptions: the first failure logs a warning and ends all logging.

    Args:
        run: the started W&B run.
        logged: the last step already sent for each key; a resumed run sends no value twice.
    """

    def __init__(self, run: Any, logged: Mapping[str, int]) -> None:
        super().__init__(experiment=run, project=run.project, id=run.id, name=run.name, dir=run.settings.root_dir)
        self._logged = dict(logged)
        self._lost = False
        self._counts_steps = True

    def __getstate__(self) -> dict[str, Any]:
        # A spawned process attaches to the W&B run of this process, and cannot set the step of a row there.
        return super().__getstate__() | {"_counts_steps": False}

    def _guard(self, action: str, call: Callable[[], object]) -> None:
        if self._lost:
            return
        try:
            call()
        except Exception as error:
            self._lost = True
            log.warning("W&B could not %s (%s): the run goes on with files only", action, _first_line(error))

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self._guard("log", lambda: self._send(metrics, step))

    def _send(self, metrics: Mapping[str, float], step: int | None) -> None:
        values = {key: float(value) for key, value in metrics.items()}
        if step is None:
            self.experiment.log(values)
            return
        fresh = {key: value for key, value in values.items() if step > self._logged.get(key, -1)}
        if fresh.keys() - {"epoch"}:
            # W&B drops a row with a step below its own, as after a resume; without a step it counts rows itself.
            own = {"step": step} if self._counts_steps and step >= self.experiment.step else {}
            self.experiment.log(fresh | {STEP: step}, **own)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Does nothing: W&B got the resolved config when the run started."""

    def log_figures(self, paths: Iterable[Path]) -> None:
        """Show PNG files as images, under ``figures/<file name without its end>``."""

        def show() -> None:
            import wandb

            images = {f"figures/{path.stem}": wandb.Image(str(path)) for path in paths}
            if images:
                self.experiment.log(images)

        self._guard("take the figures", show)

    def log_summary(self, values: Mapping[str, Any]) -> None:
        """Set the final and best values of the run's summary, as in ``summary.json``."""
        self._guard("take the summary", lambda: self.experiment.summary.update(dict(values)))

    def finalize(self, status: str) -> None:
        """Does nothing, since a test follows the fit in the same W&B run; :meth:`finish` ends the run."""

    def finish(self, exit_code: int = 0) -> None:
        """End the W&B run, so that the next run of the process does not join it; ``exit_code`` 0 means success."""
        self._lost, lost = False, self._lost
        self._guard("finish", lambda: self.experiment.finish(exit_code=exit_code))
        self._lost = self._lost or lost


def build_wandb(
    cfg: Mapping[str, Any], folder: Path, run_id: str, logged: Mapping[str, int] | None = None
) -> GuardedWandb | None:
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
    try:
        import wandb

        if not hasattr(wandb, "init"):
            raise ImportError("the package is not installed; the folder wandb/ found here is not it")
        known = wandb.setup(wandb.Settings(silent=True, quiet=True)).settings
        mode, reason = choose_mode(asked, known.base_url, known.api_key)
        folder.mkdir(parents=True, exist_ok=True)
        sent = (folder / "wandb").is_dir()
        try:
            run = _start(cfg, options, folder, run_id, mode)
        except Exception as error:
            if mode == "offline":
                raise
            mode, reason = "offline", _first_line(error)
            wandb.teardown()  # W&B keeps the id of a run that failed to start
            run = _start(cfg, options, folder, run_id, mode)
    except Exception as error:
        log.warning("W&B could not start (%s): the run goes on with files only", _first_line(error))
        return None
    if mode == "online":
        log.info("W&B: %s", run.url)
    else:
        level = logging.WARNING if asked == "online" else logging.INFO
        log.log(level, "W&B is offline%s: wandb sync %s", reason and f" ({reason})", _shown(Path(run.dir).parent))
    return GuardedWandb(run, (logged or {}) if sent else {})


def _start(cfg: Mapping[str, Any], options: Mapping[str, Any], folder: Path, run_id: str, mode: Mode) -> Any:
    import wandb

    settings = {
        "silent": True,
        "quiet": True,
        "console": "off",
        "disable_code": True,
        "init_timeout": options["init_timeout"],
        "finish_timeout": FINISH_SECONDS,
        "reinit": "finish_previous",
    }
    known = set(getattr(wandb.Settings, "model_fields", settings))
    run = wandb.init(
        mode=mode,
        dir=str(folder),
        id=run_id,
        resume="allow",
        config=flatten(cfg),
        settings=wandb.Settings(**{key: value for key, value in settings.items() if key in known}),
        **{key: options[key] for key in ("project", "entity", "group", "job_type", "tags", "name")},
    )
    run.define_metric(STEP)
    run.define_metric("*", step_metric=STEP, step_sync=True)
    return run


def _shown(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
