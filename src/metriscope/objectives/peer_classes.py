"""Classes of pytorch-metric-learning: found by name, and built from arguments that their constructors take."""

import inspect
from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple

from metriscope.errors import InputError, nearest
from metriscope.parts import ArgumentError, instantiate

_BASE = "it is a base of other classes"
_VIEWS = "it compares two views of each image, and batches hold one"
# Classes that no config can use, with the reason.
REFUSED = {
    "BaseLossWrapper": _BASE,
    "BaseMetricLossFunction": _BASE,
    "BaseMiner": _BASE,
    "EmbeddingRegularizerMixin": _BASE,
    "GenericPairLoss": _BASE,
    "WeightRegularizerMixin": _BASE,
    "CrossBatchMemory": "it wraps another loss; use memory=xbm",
    "MultipleLosses": "it wraps other losses; use loss=sum",
    "SelfSupervisedLoss": _VIEWS,
    "VICRegLoss": f"{_VIEWS}; use loss=vicreg",
    "ManifoldLoss": "it takes no labels",
    "SmoothAPLoss": "it takes only batches in blocks, with equally many samples per class; use loss=smooth_ap",
    "EmbeddingsAlreadyPackagedAsTriplets": "it takes only batches that are packed as triplets",
}
# What constructors call the two sizes that are known once the data are loaded.
SIZES = {"num_classes": "num_classes", "embedding_size": "embedding_size", "descriptors_dim": "embedding_size"}


class _Parameters(NamedTuple):
    known: dict[str, Any]
    """Default by name, of the class and of the bases that it passes arguments on to."""
    own: frozenset[str]
    """Names that the constructor of the class itself spells out."""
    closed: bool
    """Whether any other name is refused."""


def build(kind: str, name: str, arguments: Mapping[str, Any] | None, sizes: Mapping[str, int]) -> tuple[Any, bool]:
    """An object of ``pytorch_metric_learning.<kind>.<name>``, and whether it has parameters for each class.

    Args:
        kind: ``losses`` or ``miners``.
        name: of the class.
        arguments: of its constructor; sections that have a ``_target_``, such as a distance, are built first.
        sizes: ``num_classes`` and ``embedding_size``, given where the constructor takes them and ``arguments`` do not.

    Raises:
        InputError: the package is not installed.
        ArgumentError: no such class (with the nearest), one that no config can use, or arguments that it refuses.
    """
    peer = _find(kind, name)
    parameters = _parameters(peer)
    given = {key: sizes[size] for key, size in SIZES.items() if key in parameters.known and size in sizes}
    given.update(arguments or {})
    for key, value in given.items():
        if parameters.closed and key not in parameters.known:
            line = f"{name} takes no such argument{nearest(key, parameters.known)}"
            raise ArgumentError(f"arguments.{key}", value, line)
    missing = [
        key
        for key, default in parameters.known.items()
        if default is inspect.Parameter.empty and key in parameters.own and key not in given
    ]
    if missing:
        raise ArgumentError("arguments", arguments, f"{name} needs {', '.join(missing)}")
    try:
        built = peer(**{key: _built(key, value) for key, value in given.items()})
    except InputError:
        raise
    except Exception as error:
        raise ArgumentError("arguments", arguments, f"{name} says: {one_line(error)}") from error
    return built, given.get("num_classes") is not None


def one_line(error: Exception) -> str:
    """What an exception says, in one line; its type where it says nothing."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def _find(kind: str, name: str) -> Any:
    try:
        module = import_module(f"pytorch_metric_learning.{kind}")
    except ImportError as error:
        raise InputError(f"{kind[:-2]}=pml needs another package: pip install pytorch-metric-learning") from error
    choices = [key for key, value in vars(module).items() if inspect.isclass(value)]
    if name in REFUSED:
        raise ArgumentError("peer", name, f"not supported: {REFUSED[name]}")
    if name not in choices:
        line = f"pytorch_metric_learning.{kind} has no such class{nearest(name, {*choices} - {*REFUSED})}"
        raise ArgumentError("peer", name, line)
    return getattr(module, name)


def _parameters(peer: type) -> _Parameters:
    """What a constructor takes by name, also where it passes ``**kwargs`` on to those of its bases."""
    known: dict[str, Any] = {}
    own: frozenset[str] | None = None
    for base in peer.__mro__:
        if "__init__" not in vars(base):
            continue
        parameters = list(inspect.signature(vars(base)["__init__"]).parameters.values())[1:]
        named = {p.name: p.default for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        known = {**named, **known}
        own = frozenset(named) if own is None else own
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            return _Parameters(known, own, True)
    return _Parameters(known, own or frozenset(), False)


def _built(key: str, value: Any) -> Any:
    return instantiate(value, f"arguments.{key}") if isinstance(value, Mapping) and "_target_" in value else value
