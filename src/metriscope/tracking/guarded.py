"""A wrapper for any logger, so that its failures never stop a run."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.utilities import rank_zero_only

from metriscope.tracking.base import LoggedTable, RunLogger
from metriscope.tracking.guard import Guard


class GuardedLogger(RunLogger):
    """Calls the methods that a logger has; the first failure logs a warning and ends all logging to it.

    Args:
        logger: one of Lightning's or of one's own. It needs ``log_metrics(metrics, step)``; the methods of
            :class:`~metriscope.tracking.base.RunLogger` and Lightning's other ones are called where they are there.
        label: what it is called in the warning.
        logged: the last step already sent for each key; a resumed run sends no value twice.
        sync: the command that sends later what a server did not get, for the warning.
    """

    def __init__(
        self, logger: Any, label: str, logged: Mapping[str, int] | None = None, sync: str | None = None
    ) -> None:
        super().__init__()
        self.logger = logger
        self._guard = Guard(label) if sync is None else Guard(label, f"{sync} sends what is missing")
        self._sends = sync is not None
        self._logged = dict(logged or {})

    @property
    def unsent(self) -> bool:
        return self._sends and self._guard.lost

    @property
    def name(self) -> str | None:
        return self._guard("tell its name", lambda: getattr(self.logger, "name", None))

    @property
    def version(self) -> int | str | None:
        return self._guard("tell its version", lambda: getattr(self.logger, "version", None))

    @property
    def save_dir(self) -> str | None:
        return self._guard("tell its folder", lambda: getattr(self.logger, "save_dir", None))

    @property
    def experiment(self) -> Any:
        """The object that the logger writes to, unguarded."""
        return self.logger.experiment

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        def send() -> None:
            values = {key: float(value) for key, value in metrics.items()}
            fresh = {key: value for key, value in values.items() if step is None or step > self._logged.get(key, -1)}
            if fresh.keys() - {"epoch"}:
                self.logger.log_metrics(fresh, step)

        self._guard("log", send)

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        self._pass_on("take the config", "log_hyperparams", params, *args, **kwargs)

    @rank_zero_only
    def log_figures(self, paths: Iterable[Path]) -> None:
        self._pass_on("take the figures", "log_figures", list(paths))

    @rank_zero_only
    def log_summary(self, values: Mapping[str, Any]) -> None:
        self._pass_on("take the summary", "log_summary", dict(values))

    @rank_zero_only
    def log_tables(self, tables: Mapping[str, LoggedTable]) -> None:
        self._pass_on("take the tables", "log_tables", dict(tables))

    @rank_zero_only
    def log_artifacts(self, paths: Iterable[Path], metadata: Mapping[str, Any]) -> None:
        self._pass_on("take the files", "log_artifacts", list(paths), dict(metadata))

    @rank_zero_only
    def log_graph(self, model: Any, input_array: Any = None) -> None:
        self._pass_on("take the model", "log_graph", model, input_array)

    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        self._pass_on("take a checkpoint", "after_save_checkpoint", checkpoint_callback)

    @rank_zero_only
    def save(self) -> None:
        self._pass_on("save", "save")

    def finalize(self, status: str) -> None:
        """Does nothing, since a test follows the fit in the same run; :meth:`finish` ends the logging."""

    @rank_zero_only
    def finish(self, exit_code: int = 0) -> None:
        """End the logging, also after a failure: the next run of the process must not continue it."""
        if hasattr(self.logger, "finish"):
            self._pass_on("finish", "finish", exit_code, always=True)
        else:
            self._pass_on("finish", "finalize", "failed" if exit_code else "success", always=True)

    def _pass_on(self, action: str, method: str, *args: Any, always: bool = False, **kwargs: Any) -> None:
        def call() -> None:
            found = getattr(self.logger, method, None)
            if found is not None:
                found(*args, **kwargs)

        self._guard(action, call, always=always)
