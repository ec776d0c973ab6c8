"""What the next trial of an entry sets: a function of the study's seed, the entry and its trials so far."""

import logging
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from metriscope import seeds
from metriscope.run.ledger import COMPLETE, FAILED, Row

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

_STARTUP = 10


def propose(
    entry: str,
    space: "Mapping[str, BaseDistribution]",
    default: Mapping[str, Any],
    rows: Sequence[Row],
    *,
    sampler: str,
    trials: int,
    seed: int,
    mode: str,
) -> dict[str, Any]:
    """The parameters of trial ``len(rows)``.

    The sampler is made anew for each trial, from the seed, the entry and the number, and told of the trials before:
    a search that was interrupted proposes what an undisturbed one does.

    Args:
        entry: its name.
        space: distribution of each key.
        default: what the config says without a search, which is trial 0.
        rows: its trials so far, in order.
        sampler: ``tpe`` (multivariate) or ``gp``.
        trials: how many there will be; a third of them, at most ten, are drawn at random first.
        seed: of the study.
        mode: ``max`` or ``min``.
    """
    import optuna

    if not rows or not space:
        return dict(default)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    drawn = seeds.derive(seed, f"fair search {entry}", len(rows)) % 2**32
    startup = min(_STARTUP, max(1, trials // 3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        made: Any = (
            optuna.samplers.TPESampler(multivariate=True, n_startup_trials=startup, seed=drawn)
            if sampler == "tpe"
            else optuna.samplers.GPSampler(n_startup_trials=startup, seed=drawn)
        )
        logging.getLogger("optuna").setLevel(logging.WARNING)
        study = optuna.create_study(sampler=made, direction="maximize" if mode == "max" else "minimize")
        study.add_trials([_told(row, space, sampler) for row in rows])
        return dict(study.ask(dict(space)).params)


def _told(row: Row, space: "Mapping[str, BaseDistribution]", sampler: str) -> "FrozenTrial":
    """A trial as Optuna takes it.

    TPE ranks pruned trials behind complete ones by what they reached, and a failed one last; the Gaussian process
    learns from values alone, so it gets the mean of the folds of a pruned trial.
    """
    from optuna.trial import TrialState, create_trial

    reached = sum(row.folds) / len(row.folds) if row.folds else None
    common: dict[str, Any] = {"params": dict(row.params), "distributions": dict(space)}
    if row.status == COMPLETE:
        return create_trial(value=row.value, **common)
    if sampler == "gp":
        if row.status == FAILED or reached is None:
            return create_trial(state=TrialState.FAIL, **common)
        return create_trial(value=reached, **common)
    shown = {} if row.status == FAILED or reached is None else {len(row.folds): reached}
    return create_trial(state=TrialState.PRUNED, intermediate_values=shown, **common)
