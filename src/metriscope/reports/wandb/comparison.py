"""Logging a comparison to W&B: one run of job type ``comparison`` with tables and figures."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from metriscope.reports.comparison import Comparison
from metriscope.reports.tables import Table, tables
from metriscope.reports.wandb.study import COMPARISON
from metriscope.tracking.connection import asked_mode, start

INIT_SECONDS = 20


def log_comparison(comparison: Comparison, figures: Sequence[Path], folder: Path, project: str | None = None) -> str:
    """Log tables, PNG files and means; online if a key is configured and the host answers, otherwise offline.

    The id of the run is made from the study, so that a later comparison continues the run.

    Args:
        folder: folder for W&B's own files, in ``wandb/``.
        project: ``entity/project``; by default from the configs of the runs.

    Returns:
        one line: the URL of the run, the command that uploads it, or the reason that there is none.
    """
    mode = asked_mode("auto")
    if mode == "disabled":
        return "W&B is disabled: nothing was logged"
    entity, name = project.split("/") if project else _own_project(comparison)
    study = comparison.study.name
    try:
        started = start(
            mode,
            folder,
            init_timeout=INIT_SECONDS,
            id=re.sub(r"[^A-Za-z0-9_-]", "-", f"{COMPARISON}-{study}"),
            entity=entity,
            project=name,
            group=study,
            job_type=COMPARISON,
            name=f"{study} {COMPARISON}",
            config={"study": study, "by": list(comparison.grouping.by), "over": comparison.grouping.over},
        )
        import wandb

        run = started.run
        shown: dict[str, Any] = {
            title: _wandb_table(table)
            for title, table in zip(("comparison", "differences"), tables(comparison), strict=False)
        }
        shown |= {f"figures/{path.stem}": wandb.Image(str(path)) for path in figures if path.suffix == ".png"}
        run.log(shown)
        groups = comparison.grouping.groups
        means = {f"{groups[place]}/{metric}": cell.summary.mean for (place, metric), cell in comparison.cells.items()}
        run.summary.update({**means, "notes": list(comparison.notes)})
        line = str(started)
        run.finish()
    except Exception as error:
        return f"W&B could not log the comparison ({' '.join(str(error).split())[:160]}); the files are there"
    return line


def _own_project(comparison: Comparison) -> tuple[str | None, str]:
    for run in comparison.study.runs:
        if name := run.config.get("logger.wandb.project"):
            return run.config.get("logger.wandb.entity"), str(name)
    return None, "metriscope"


def _wandb_table(table: Table) -> Any:
    import wandb

    return wandb.Table(
        columns=list(table.columns), data=[["\n".join(cell.lines) for cell in row] for row in table.rows]
    )
