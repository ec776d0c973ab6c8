"""How much each searched parameter of a method matters, by the fANOVA of Optuna. Imports Optuna on demand."""

import importlib.util
import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from metriscope.errors import InputError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

FEWEST = 10
"""Complete trials below which a forest tells importances from noise in no useful way."""

_INTERVAL = re.compile(r"interval\(\s*([^,]+),\s*([^)]+)\)")


def importances(
    trials: Sequence[tuple[Mapping[str, Any], float]], ranges: Mapping[str, str], seed: int = 0
) -> dict[str, float] | None:
    """Share of the variance of the value that each parameter explains alone, largest first; they sum to 1.

    Optuna's ``FanovaImportanceEvaluator`` (Hutter et al., ICML 2014): a random forest of 64 trees on the trials,
    whose marginals over the search space are analysed. From 30 trials these figures are rough.

    Args:
        trials: parameters and value of each complete trial; those that lack a parameter are left out.
        ranges: of the search space, by parameter, as a command line writes them.
        seed: of the forest.

    Returns:
        None for fewer than :data:`FEWEST` trials, or where all values are equal.

    Raises:
        InputError: Optuna is not installed.
    """
    names = [name for name in ranges if len({_word(params.get(name)) for params, _ in trials}) > 1]
    whole = [(params, value) for params, value in trials if all(name in params for name in names)]
    if len(whole) < FEWEST or not names or len({value for _, value in whole}) == 1:
        return None
    if importlib.util.find_spec("optuna") is None:
        raise InputError("importances of parameters need a package: pip install optuna")
    import optuna
    from optuna.importance import FanovaImportanceEvaluator

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        space = {name: _distribution(ranges[name], [params[name] for params, _ in whole]) for name in names}
        study = optuna.create_study()
        for params, value in whole:
            own = {name: params[name] if _is_numeric(space[name]) else _word(params[name]) for name in names}
            study.add_trial(optuna.create_trial(params=own, distributions=space, value=value))
        found = FanovaImportanceEvaluator(seed=seed).evaluate(study)
    finally:
        optuna.logging.set_verbosity(before)
    total = math.fsum(found.values())
    shares = {name: share / total if total else 0.0 for name, share in found.items()}
    return dict(sorted(shares.items(), key=lambda item: (-item[1], item[0])))


def _distribution(word: str, values: Sequence[Any]) -> "BaseDistribution":
    """The range of the search, widened to the values: the default setting may lie at its end."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    interval = _INTERVAL.search(word)
    if interval is None or not all(isinstance(value, int | float) for value in values):
        return CategoricalDistribution(sorted({_word(value) for value in values}))
    low, high = float(interval[1]), float(interval[2])
    low, high = min(low, *values), max(high, *values)
    return FloatDistribution(low, high, log=low > 0 and "log" in word[: interval.start()])


def _is_numeric(distribution: "BaseDistribution") -> bool:
    return hasattr(distribution, "low")


def _word(value: Any) -> str:
    return str(value)
