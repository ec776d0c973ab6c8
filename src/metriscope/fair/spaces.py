"""What is searched for each entry of a fair comparison, and the default setting within it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, open_dict

from metriscope.config.compose import Composer, compose_config
from metriscope.config.files import SEARCHED
from metriscope.config.plain import flatten
from metriscope.config.rules import check
from metriscope.config.search_path import folders
from metriscope.config.words import keys_of, parse
from metriscope.errors import InputError
from metriscope.evaluation.monitors import Monitor, monitor_of
from metriscope.fair.words import Asked, Entry
from metriscope.sweeps.space import distributions, of_parts

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

# Range of the learning rate of a part, as factors on optimizer.lr. Class vectors take rates far above those of a
# network: [MLRC] arXiv:2003.08505 finds up to 6,000 times that of the trunk.
_RATES = {"head": (1 / 30, 30), "loss": (1 / 10, 1000)}


Compose = Callable[[Sequence[str]], DictConfig]


def composer_of(asked: Asked) -> Compose:
    """A function from the words of a run to its config, which reads what many runs have in common once."""
    compose = Composer(asked.aside)
    return lambda words: compose([word for word in words if not parse(word).is_hydra_override()])


@dataclass(frozen=True)
class Start:
    """An entry before anything was searched.

    Attributes:
        entry: as the command line names it.
        words: the overrides of all its runs.
        config: of its default setting, checked.
        parts: ranges that the files of its parts, and the command line, give, by key.
    """

    entry: Entry
    words: tuple[str, ...]
    config: Mapping[str, Any]
    parts: Mapping[str, str]


@dataclass(frozen=True)
class Search:
    """What is searched for an entry.

    Attributes:
        entry, words: as of :class:`Start`.
        ranges: range of each key, as a command line writes it.
        space: the same as distributions.
        default: the value of each key without a search.
    """

    entry: Entry
    words: tuple[str, ...]
    ranges: Mapping[str, str]
    space: "Mapping[str, BaseDistribution]"
    default: Mapping[str, Any]


def start_of(asked: Asked, entry: Entry) -> Start:
    """Compose and check an entry.

    Raises:
        InputError: its words, or a part that does not say what to search.
    """
    words = asked.words(entry)
    named = {word.partition("=")[0] for word in entry.words}
    # What an entry names wins over what is fixed for all.
    words = tuple(word for word in words if word in entry.words or word.partition("=")[0] not in named)
    try:
        cfg = compose_config(words, with_hydra=True)
        choices = dict(cfg.hydra.runtime.choices)
        config = check(_without_hydra(cfg))
        ranged = {group for group in SEARCHED if any(key.startswith(f"{group}.") for key in entry.ranges)}
        ranges = dict(word.split("=", 1) for word in of_parts(choices, folders(words), ranged))
    except InputError as error:
        raise InputError(f"{entry.name}: {error}") from error
    if str(config["scheduler"].get("monitor") or "").startswith("val/") or config["scheduler"]["name"] == "plateau":
        raise InputError(f"scheduler={config['scheduler']['name']} goes by a validation set, which repeats have not")
    given = keys_of(words)
    ranges = {key: value for key, value in ranges.items() if key not in given}
    return Start(entry, words, config, {**ranges, **entry.ranges})


def goal_of(start: Start) -> Monitor:
    """The metric that the search goes by, and its better end.

    Raises:
        InputError: it is none of the validation set.
    """
    evaluation = start.config["evaluation"]
    goal = monitor_of(evaluation, "evaluation", evaluation)
    if not goal.metric.startswith("val/"):
        raise InputError(f"evaluation.monitor={goal.metric}: a search goes by a metric of the folds, such as val/...")
    return goal


def search_of(start: Start, learns: Mapping[str, bool]) -> Search:
    """What is searched for an entry.

    Args:
        start: the entry.
        learns: whether head and loss have parameters.

    Raises:
        InputError: a range is invalid, or leaves out the default.
    """
    ranges = {**_rates(start, learns), **start.parts}
    name, flat = start.entry.name, flatten(start.config)
    try:
        space = distributions({key: f"{key}={value}" for key, value in ranges.items()}, folders(start.words))
    except InputError as error:
        if ranges:
            raise InputError(f"{name}: {error}") from error
        space = {}
    default = {key: _default(key, ranges[key], one, flat, name) for key, one in space.items()}
    return Search(start.entry, start.words, ranges, space, default)


def _rates(start: Start, learns: Mapping[str, bool]) -> dict[str, str]:
    """Ranges of the learning rates of head and loss, unless the words set these."""
    given, found = keys_of(start.words), {}
    rate = float(start.config["optimizer"]["lr"])
    for part, (low, high) in _RATES.items():
        key = f"optimizer.lr_{part}"
        if learns[part] and key not in given and key in flatten(start.config):
            found[key] = f"tag(log,interval({rate * low:.3g},{rate * high:.3g}))"
    return found


def _default(key: str, text: str, one: "BaseDistribution", flat: Mapping[str, Any], name: str) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if key not in flat:
        raise InputError(f"{name}: {key}={text} is no key of its config")
    value = flat[key]
    if value is None and key.startswith("optimizer.lr_"):
        value = flat["optimizer.lr"]
    if isinstance(one, CategoricalDistribution):
        same = [choice for choice in one.choices if parse(f"{key}={choice}").value() == value]
        if same:
            return same[0]
    elif isinstance(value, int | float) and not isinstance(value, bool):
        number = float(value) if isinstance(one, FloatDistribution) else int(value)
        if number == value and one._contains(one.to_internal_repr(number)):
            return number
    raise InputError(
        f"{name}: the space {key}={text} excludes the default {value}, which is the first trial: widen the range, or "
        "set another default"
    )


def _without_hydra(cfg: DictConfig) -> DictConfig:
    with open_dict(cfg):
        del cfg["hydra"]
    return cfg


def trial_words(search: Search, params: Mapping[str, Any]) -> tuple[str, ...]:
    """The overrides of an entry with these parameters."""
    return (*search.words, *(f"{key}={value}" for key, value in params.items()))
