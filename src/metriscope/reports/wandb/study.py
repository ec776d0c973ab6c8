"""Reading a study from a W&B project, with the same result as from its run folders."""

from collections.abc import Collection
from typing import Any

from metriscope.errors import InputError
from metriscope.escapes import shown
from metriscope.run.history import EPOCHS, Row
from metriscope.run.record import FAILED, FINISHED, INTERRUPTED, RUNNING, Record, Status, is_figure
from metriscope.run.study import Study, StudyRun, flat_config, once_each
from metriscope.tracking.connection import connect

COMPARISON = "comparison"
"""Job type of W&B runs that hold a comparison; these are no runs of the study."""

_STATES: dict[str, Status] = {
    "finished": FINISHED,
    "running": RUNNING,
    "pending": RUNNING,
    "failed": FAILED,
    "crashed": FAILED,
}


def load_project(project: str, study: str, api: Any = None) -> Study:
    """The runs of a study in a W&B project; of runs with the same config the last finished one counts.

    Args:
        project: ``entity/project``.
        study: name of the study, as in the config of its runs.
        api: replaces ``wandb.Api()``.

    Raises:
        InputError: there is no such project, key or answer, or the project holds no run of the study.
    """
    if project.count("/") != 1 or not all(project.split("/")):
        raise InputError(f"{project!r} names no W&B project: give it as entity/project")
    filters = {"config.study": study, "jobType": {"$ne": COMPARISON}}
    api = api or connect()
    try:
        found = list(api.runs(project, filters=filters, order="+created_at", per_page=500, lazy=False))
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"W&B project {project} cannot be read: {reason[:200]}") from error
    runs: list[StudyRun] = []
    problems: list[str] = []
    for remote in found:
        try:
            run = _read(remote)
        except Exception as error:  # whatever one run holds, the others are read
            what = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
            problems.append(shown(f"{'/'.join(remote.path)}: {what}; left out"))
            continue
        if "seed" not in run.config:
            problems.append(f"{run.name} has no seed in its config; left out")
            continue
        runs.append(run)
    if not runs:
        raise InputError(f"W&B project {project} holds no run of study {study!r}")
    return Study(study, once_each(runs, problems), problems)


def _read(remote: Any) -> StudyRun:
    summary = {shown(key): value for key, value in dict(remote.summary_metrics).items() if "/" in key}

    def history(keys: Collection[str]) -> list[Row]:
        wanted = {*keys, "epoch"}
        rows = [{key: row[key] for key in wanted & row.keys() if is_figure(row[key])} for row in remote.scan_history()]
        return [row for row in rows if row.keys() - {"epoch"}]

    run = StudyRun(
        name=shown("/".join(remote.path)),
        config=flat_config({key: value for key, value in remote.config.items() if not key.startswith("_")}),
        metrics={key: value for key, value in summary.items() if is_figure(value)},
        record=_record(remote),
        history=history,
        url=remote.url,
    )
    _ = run.relevant
    return run


def _record(remote: Any) -> Record:
    """What W&B knows of a run; a state that only W&B has is the reason of an interruption.

    Raises:
        InputError: the number of epochs in its summary is none.
    """
    state = str(remote.state)
    known = {"status": _STATES.get(state, INTERRUPTED), "reason": None if state in _STATES else state}
    return Record.of({**known, "epochs": remote.summary_metrics.get(EPOCHS)})
