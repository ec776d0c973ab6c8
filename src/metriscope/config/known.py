"""Which keys there are: a key that nothing reads is a typing error, also where ``+`` adds it."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from metriscope.config.defaults import BY_NAME, groups, of_all, of_group, of_top_level
from metriscope.config.plain import flatten
from metriscope.errors import InputError, nearest

# Keys that a run cannot do without, beside those of the top level and of the section evaluation.
_NEEDED = (
    "trainer.max_epochs", "trainer.log_every_n_steps", "dataset.protocol", "head.normalize",
    "backbone.freeze", "optimizer.lr", "memory.size", "logger.figures",
)  # fmt: skip
_NAMED = ("dataset", "backbone", "loss", "miner", "distance")
# Files of one's own may hold the section evaluation as it was before it had these.
_OPTIONAL = (
    "init", "loss_memory_mb", "pairs_across", "tags", "references", "weighting", "mixture", "scale", "sweep",
    "evaluation.name", "evaluation.per_query", "evaluation.pairs", "evaluation.distractors", "evaluation.spectrum",
    "evaluation.weights",
)  # fmt: skip


def check_whole(config: Mapping[str, Any]) -> None:
    """Refuse a config that lacks what every run reads, such as one whose key was deleted by ``~``.

    Raises:
        InputError: naming the key.
    """
    for group in (*of_top_level(), *groups()):
        first = group.split(".")[0]
        if first not in config and first not in _OPTIONAL:
            raise InputError(f"{first} is missing: every run needs it")
    flat = flatten(config)
    of_evaluation = (key for key in of_group("evaluation") if key.count(".") == 1 and key not in _OPTIONAL)
    paths = (key for key in of_top_level() if "." in key)
    for key in (*paths, *(f"{group}.name" for group in _NAMED), *_NEEDED, *of_evaluation):
        if not _is_known(key, flat):
            raise InputError(f"{key} is missing: every run needs a value for it, {key}=...")


def check_known(config: Mapping[str, Any]) -> None:
    """Refuse keys that nothing reads.

    Sections with a ``_target_`` are judged by what that takes; mappings of parts by name are open, and so are those
    that ship empty.

    Raises:
        InputError: naming the key and the nearest one.
    """
    top = {key.split(".")[0] for key in of_top_level()} | set(groups())
    for key, value in config.items():
        if key not in top:
            raise InputError(f"{key}: no such key{suggestion(key)}")
        if not isinstance(value, Mapping):
            continue
        known = of_group(key) if key in groups() else of_top_level()
        for name in flatten(value, f"{key}."):
            if not _is_known(name, known) and not _is_open(name, config, known) and name not in _of_library(key):
                raise InputError(f"{name}: no such key{suggestion(name, known)}")


def suggestion(key: str, known: Iterable[str] = ()) -> str:
    """``; did you mean 'x'?`` for the nearest key, or a full stop.

    A key with the same last part comes first, then one whose last part ends alike (``epochs`` for ``max_epochs``), then
    the nearest by spelling.

    Args:
        key: that is not there.
        known: keys that are; keys of other choices follow them.
    """
    last = key.rpartition(".")[2]
    places = [
        {name: name.rpartition(".")[2] for name in keys if name != key} for keys in (known, [*of_all(), *groups()])
    ]
    for parts in places:
        same = [name for name, part in parts.items() if part == last]
        longer = [name for name, part in parts.items() if part.endswith(f"_{last}")]
        if len(same) == 1 or (longer and not same):
            found = same or sorted(longer, key=lambda name: len(parts[name]))
            return f"; did you mean '{found[0]}'?"
    spelt = [nearest(key, parts) for parts in places]
    return next((line for line in spelt if line != "."), ".")


def _is_known(key: str, known: Collection[str]) -> bool:
    # A section that another choice has empty, or as null, may be there in full.
    return key in known or any(name.startswith(f"{key}.") for name in known)


def _is_open(key: str, config: Mapping[str, Any], known: Mapping[str, tuple[Any, ...]]) -> bool:
    """Whether some section that holds the key takes what its ``_target_`` takes, or ships as an empty mapping."""
    parts = key.split(".")
    node: Any = config
    for depth, part in enumerate(parts[:-1], start=1):
        node = node[part]
        if isinstance(node, Mapping) and "_target_" in node:
            return True
        if any(default == {} for default in known.get(".".join(parts[:depth]), ())):
            return True
    return parts[-1] == "_target_" or key.startswith(BY_NAME)


def _of_library(group: str) -> Collection[str]:
    """Keys that go to a library as they are. Imports it: only for keys that no shipped config has."""
    if group != "trainer":
        return ()
    import inspect

    from pytorch_lightning import Trainer

    return {f"trainer.{name}" for name in inspect.signature(Trainer).parameters}
