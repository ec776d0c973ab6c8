"""The comparison of a study as a W&B report: its panels, and their creation with the public API."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any, NamedTuple

from metriscope.errors import InputError
from metriscope.evaluation.metrics import HEADLINES, logged, title_of
from metriscope.reports.study_figures import CURVES
from metriscope.reports.style import heading
from metriscope.reports.wandb.study import COMPARISON


class Panel(NamedTuple):
    """One panel: ``lines`` over x, ``scatter`` of y against x, or ``bars`` of y; keys as logged."""

    kind: str
    title: str
    y: str
    x: str = "epoch"


class Section(NamedTuple):
    """A heading and the panels below it."""

    title: str
    panels: Sequence[Panel]


def sections() -> list[Section]:
    """The sections of the report in order, on the same subjects as the figures of ``metriscope compare``."""
    recall, *variances = logged("test", "recall_at_1", "variance_intra", "variance_inter")
    against = [Panel("scatter", f"{title_of(recall)} against {title_of(key)}", recall, key) for key in variances]
    return [
        Section("Final figures on the test set", [Panel("bars", title_of(k), k) for k in logged("test", *HEADLINES)]),
        *(
            Section(name.replace("_", " ").capitalize(), [Panel("lines", heading(key), key) for key in keys])
            for name, keys in CURVES.items()
        ),
        Section("Recall against variance", against),
    ]


def build_report(project: str, study: str, by: str = "loss.name") -> Any:
    """The report as an object of ``wandb_workspaces``, not yet saved; needs no network.

    Args:
        project: ``entity/project``.
        study: name of the study whose runs are shown.
        by: config key that lines and bars are averaged over.

    Raises:
        InputError: the package is not installed, or ``project`` is not ``entity/project``.
    """
    if project.count("/") != 1 or not all(project.split("/")):
        raise InputError(f"{project!r} names no W&B project: give it as entity/project")
    try:
        reports: Any = import_module("wandb_workspaces.reports.v2")
    except ImportError as error:
        raise InputError("a W&B report needs a package: pip install wandb-workspaces") from error
    entity, name = project.split("/")
    # The configs of runs are flat: W&B stores the value of a dotted key under its whole name.
    grouped = {"groupby": f"{by}.value", "groupby_aggfunc": "mean", "groupby_rangefunc": "stderr"}
    chosen = f"Config('study') = '{study}' and Metric('JobType') != '{COMPARISON}'"
    blocks: list[Any] = []
    for section in sections():
        panels: list[Any] = []
        for panel in section.panels:
            if panel.kind == "lines":
                panels.append(reports.LinePlot(title=panel.title, x=panel.x, y=[panel.y], **grouped))
            elif panel.kind == "bars":
                panels.append(reports.BarPlot(title=panel.title, metrics=[panel.y], **grouped))
            else:
                x, y = (reports.SummaryMetric(key) for key in (panel.x, panel.y))
                panels.append(reports.ScatterPlot(title=panel.title, x=x, y=y))
        runs = reports.Runset(entity=entity, project=name, name=study, filters=chosen)
        blocks += [reports.H2(text=section.title), reports.PanelGrid(runsets=[runs], panels=panels)]
    return reports.Report(entity=entity, project=name, title=f"Comparison of {study}", blocks=blocks)
