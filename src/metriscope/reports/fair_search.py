"""The searches of a fair comparison: expected best after k trials, the price of tuning, importances, as tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from metriscope.annotations import said
from metriscope.errors import InputError
from metriscope.reports.fair_study import FairStudy
from metriscope.reports.importances import FEWEST, importances
from metriscope.reports.scales import value_axis
from metriscope.reports.style import PLAIN, heading, look, panels
from metriscope.reports.tables import Shown, Table
from metriscope.reports.tuning import NEARLY, Price, expected_best, price
from metriscope.run.ledger import COMPLETE, FAILED, PRUNED, Row
from metriscope.run.record import duration

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BUDGETS = (1, 3, 10, 30, 100)


@dataclass(frozen=True)
class Search:
    """The search over one entry.

    Attributes:
        entry: its name.
        trials: its lines of the ledger.
        best: its best complete trial.
        curve: expected best after k trials, k = 1, ..., n: (n,). A trial that was pruned or that failed counts as the
            worst complete one.
        price: what tuning gave and cost.
        weights: importance of each parameter, largest first; None where there are too few complete trials.
    """

    entry: str
    trials: Sequence[Row]
    best: Row
    curve: NDArray[np.float64]
    price: Price
    weights: Mapping[str, float] | None

    def count(self, status: str) -> int:
        """How many trials ended so."""
        return sum(trial.status == status for trial in self.trials)


def searches(study: FairStudy) -> tuple[list[Search], list[str]]:
    """The searches of all entries of which a trial is complete, and a line for each thing that cannot be told."""
    found: list[Search] = []
    notes: dict[str, None] = {}
    for entry in study.entries:
        trials, best = study.of(entry), study.best(entry)
        whole = [(trial, trial.value) for trial in trials if trial.value is not None]
        if best is None:
            notes[f"{entry}: no trial is complete"] = None
            continue
        worst = study.sign * min(study.sign * value for _, value in whole)
        values = [worst if trial.value is None else trial.value for trial in trials]
        default = next((trial.value for trial in trials if trial.trial == 0), None)
        cost = price(values, default, sum(trial.seconds for trial in trials), study.sign)
        try:
            weights = importances([(trial.params, value) for trial, value in whole], study.space(entry))
        except InputError as error:
            weights = notes.setdefault(str(error))
        found.append(Search(entry, trials, best, expected_best(values, study.sign), cost, weights))
    return found, list(notes)


def search_table(study: FairStudy, found: Sequence[Search]) -> Table:
    """What each search gave: default, best, expected best, and what it cost."""
    most = max((len(one.curve) for one in found), default=0)
    budgets = [k for k in _BUDGETS if k < most]
    columns = ["entry", "trials", "pruned", "failed", "default", *(f"best of {k}" for k in budgets), "best of all"]
    columns += ["gain", f"trials for {NEARLY:.0%} of it", "best trial", "time"]
    rows = []
    for one in found:
        cells = [one.entry, str(len(one.trials)), str(one.count(PRUNED)), str(one.count(FAILED))]
        cells += [_value(one.price.default)]
        cells += [_value(one.curve[k - 1]) if k <= len(one.curve) else "-" for k in budgets]
        cells += [_value(one.price.best), _value(one.price.gain)]
        cells += ["-" if one.price.trials_needed is None else str(one.price.trials_needed), str(one.best.trial)]
        rows.append([Shown([cell]) for cell in [*cells, duration(one.price.seconds)]])
    caption = (
        f"{study.metric}, mean over folds of each trial. Trial 0 is the default setting. Best of k: expected best "
    )
    caption += "of k trials drawn without replacement from all; a trial that was pruned or that failed counts as the "
    caption += "worst complete one. Later trials of a model-based sampler build on earlier ones, which this leaves out."
    return Table(caption, columns, rows, 1)


def orders(found: Sequence[Search], sign: int) -> str:
    """Which entry leads by its expected best after k trials, in one line."""
    shortest = min((len(one.curve) for one in found), default=0)
    leaders: list[tuple[int, str]] = []
    for k in range(1, shortest + 1):
        leader = max(found, key=lambda one: sign * float(one.curve[k - 1])).entry
        if not leaders or leaders[-1][1] != leader:
            leaders.append((k, leader))
    return "; ".join(f"from {k} trial{'s' * (k > 1)} on {name}" for k, name in leaders)


def winners_table(study: FairStudy, found: Sequence[Search]) -> Table:
    """Each searched parameter: its range, its default, what won, and how much it matters."""
    rows = []
    for one in found:
        default = next((trial.params for trial in one.trials if trial.trial == 0), {})
        for key in sorted(one.best.params, key=lambda key: -(one.weights or {}).get(key, 0.0)):
            weight = None if one.weights is None else one.weights.get(key, 0.0)
            cells = [one.entry, key, study.space(one.entry).get(key, "-"), _setting(default.get(key))]
            cells += [_setting(one.best.params[key]), "-" if weight is None else f"{weight:.2f}"]
            rows.append([Shown([cell]) for cell in cells])
    caption = "Importance: share of the variance of the search's metric that a parameter explains alone, by the fANOVA "
    caption += (
        "of Optuna (FanovaImportanceEvaluator, 64 trees) on complete trials; the shares of an entry add up to 1. "
    )
    caption += f"From so few trials they are rough; -: fewer than {FEWEST} complete trials."
    return Table(caption, ["entry", "parameter", "searched", "default", "best", "importance"], rows, 3)


def expected_best_rows(found: Sequence[Search]) -> list[dict[str, Any]]:
    """The curves as the rows of a file."""
    return [
        {"entry": one.entry, "trials": k, "expected_best": float(value)}
        for one in found
        for k, value in enumerate(one.curve, start=1)
    ]


def search_rows(found: Sequence[Search]) -> list[dict[str, Any]]:
    """Gains and costs as the rows of a file."""
    return [
        {
            "entry": one.entry, "trials": len(one.trials), "complete": one.count(COMPLETE),
            "pruned": one.count(PRUNED), "failed": one.count(FAILED), "default": one.price.default,
            "best": one.price.best, "best_trial": one.best.trial, "gain": one.price.gain,
            "trials_needed": one.price.trials_needed, "seconds": one.price.seconds,
        }
        for one in found
    ]  # fmt: skip


def importance_rows(found: Sequence[Search]) -> list[dict[str, Any]]:
    """Importances as the rows of a file."""
    return [
        {"entry": one.entry, "parameter": key, "importance": weight, "best": said(one.best.params[key])}
        for one in found
        for key, weight in (one.weights or {}).items()
    ]


def expected_best_figure(study: FairStudy, found: Sequence[Search], name: str) -> "Figure | None":
    """Expected best after k trials, a line for each entry; None where no search has two trials."""
    if max((len(one.curve) for one in found), default=0) < 2:
        return None
    looks = {one.entry: look(place) for place, one in enumerate(found)}
    note = "expected best of k trials drawn without replacement; dot at the left: the default setting"
    title = f"{name}: the price of tuning"
    figure, (axis,) = panels([heading(study.metric)], width=7.2, height=4.2, title=title, note=note, key=looks)
    for one in found:
        color, style, marker = looks[one.entry]
        trials = np.arange(1, len(one.curve) + 1)
        every = max(1, len(one.curve) // 6)
        axis.plot(
            trials, one.curve, linestyle=style, color=color, marker=marker, markersize=4, markevery=every, linewidth=1.5
        )
        if one.price.default is not None:
            axis.plot([0], [one.price.default], marker, color=color, markersize=5, alpha=0.7)
    axis.set_xlabel("trials", fontsize=PLAIN)
    axis.locator_params(axis="x", integer=True)
    value_axis(axis, study.metric, [one.curve for one in found], [[one.price.default or np.nan] for one in found])
    return figure


def _value(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _setting(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "-" if value is None else said(value)
