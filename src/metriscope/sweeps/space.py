"""Search space: overrides with several values or an interval, as distributions. Imports Optuna on demand."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep

from metriscope.config import files
from metriscope.config.files import CONFIG_DIR, SEARCHED, SPACE, space
from metriscope.config.words import parse
from metriscope.errors import InputError
from metriscope.sweeps.plan import Words, listed

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


def split_space(words: Sequence[str], space: Sequence[str]) -> tuple[Words, dict[str, str]]:
    """The overrides that are equal for every trial, and the overrides to search, by key.

    Args:
        words: overrides of the command line; they replace entries of ``space`` with the same key.
        space: overrides from the config.
    """
    given = {str(parse(word).get_key_element()): word for word in words}
    searched = {str(parse(word).get_key_element()): word for word in space} | given
    varied = {key: word for key, word in searched.items() if parse(word).is_sweep_override()}
    return tuple(word for key, word in given.items() if key not in varied), varied


def of_parts(choices: Mapping[str, str], further: Sequence[Path] = (), ranged: Collection[str] = ()) -> list[str]:
    """Overrides that search what the files of the chosen loss, miner, weighting and so on say may be searched.

    >>> of_parts({"loss": "triplet", "miner": "semihard", "weighting": "none"})
    ['loss.margin=interval(0.02,1.0)']

    Args:
        choices: the choice of each group; a group that is missing has no part.
        further: folders with further choices.
        ranged: groups whose ranges are given elsewhere, so that their files need not say any.

    Raises:
        InputError: the file of one of them does not say.
    """
    words = []
    for group in (one for one in SEARCHED if one in choices):
        name = choices[group]
        root = next((folder for folder in further if name in files.choices(group, folder)), CONFIG_DIR)
        ranges = space(group, name, root)
        if ranges is None and group in ranged:
            continue
        if ranges is None:
            raise InputError(
                f"{group}={name} does not say what to search: add {SPACE} to its file, or give ranges on the command "
                f"line, as in {group}.<key>=interval(0,1)"
            )
        words += [f"{group}.{key}={value}" for key, value in ranges.items()]
    return words


def distributions(varied: Mapping[str, str], further: Sequence[Path] = ()) -> "dict[str, BaseDistribution]":
    """The space to search, by key.

    Args:
        varied: overrides with several values or an interval, by key.
        further: folders with further choices.

    Raises:
        InputError: the space is empty, or an interval is invalid.
    """
    if not varied:
        raise InputError("nothing to search: give a key several values, such as optimizer.lr=interval(1e-5,1e-2)")
    return {key: _distribution(listed(word, further)) for key, word in varied.items()}


def _distribution(override: Override) -> "BaseDistribution":
    """The distribution of one override of the space.

    Categories are the override strings of the values; ``tag(log,interval(a,b))`` is uniform on a logarithmic scale.

    Raises:
        InputError: an interval is empty, or is logarithmic and not positive.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    value: Any = override.value()
    if isinstance(value, RangeSweep) and all(isinstance(n, int) for n in (value.start, value.stop, value.step)):
        values = list(value.range())
        if len(values) > 1 and value.step > 0:
            return IntDistribution(values[0], values[-1], step=int(value.step))
    if not isinstance(value, IntervalSweep):
        return CategoricalDistribution(list(override.sweep_string_iterator()))
    low, high, log = value.start, value.end, "log" in value.tags
    if low is None or high is None or low >= high or (log and low <= 0):
        raise InputError(
            f"{override.input_line}: an interval needs a lower end below its upper end, and above 0 on a log scale"
        )
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=log)
    return FloatDistribution(low, high, log=log)


def words_of(params: Mapping[str, Any]) -> Words:
    """The overrides that set the parameters of a trial."""
    return tuple(f"{key}={value}" for key, value in params.items())
