"""Parts of a run: found by the dotted path of their class, judged by its own annotations, then built.

A part says itself what its arguments may be. Annotations of the constructor give types, ranges
(``Annotated[float, Field(ge=0)]``) and choices (``Literal["mean", "sum"]``); a classmethod ``check(arguments)`` gives
rules across arguments. Both hold from Python and from a config.
"""

import inspect
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial, wraps
from importlib import import_module
from typing import Any, NamedTuple, ParamSpec, TypeVar

from pydantic import ValidationError

from metriscope.annotations import said, wanted
from metriscope.errors import InputError, RunError, nearest
from metriscope.signatures import Argument, by_name, taken_by

_Given = ParamSpec("_Given")
_Made = TypeVar("_Made")

NOT_GIVEN = object()
"""Stands for a value that there is none of."""

LATER = object()
"""Stands for an argument that is known once the data are read or the network is built.

Every annotation allows it, and ``check`` gets it as it is.
"""


class ArgumentError(InputError):
    """An argument that a part refuses, misses, or does not take.

    Args:
        key: of the argument.
        value: that was given; :data:`NOT_GIVEN` where it is not about a value.
        rule: what it has to be, or why not.
        where: what stands before the key, as ``loss.`` where it comes from a config.
    """

    def __init__(self, key: str, value: Any, rule: str, where: str = "") -> None:
        super().__init__(f"{where}{key}{'' if value is NOT_GIVEN else f'={said(value)}'}: {rule}")
        self.key, self.value, self.rule = key, value, rule

    def at(self, where: str) -> "ArgumentError":
        """The same with its place in a config."""
        return ArgumentError(self.key, self.value, self.rule, where)


class NotBuilt(InputError):
    """A constructor that fails, of a part that does not ship; ``reason`` is what it raised."""

    def __init__(self, line: str, reason: Exception) -> None:
        super().__init__(line)
        self.reason = reason


class PartType(type):
    """Metaclass of parts: their arguments are judged before anything is built."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        judge(cls, by_name(cls, args, kwargs))
        part = super().__call__(*args, **kwargs)
        if hasattr(cls, "register_module") and "_modules" not in vars(part):
            raise InputError(f"{cls.__name__}: its constructor has to call super().__init__() first")
        return part


def judge(part: Callable[..., Any], arguments: Mapping[str, Any], unbuilt: Collection[str] = ()) -> None:
    """Refuse arguments that ``part`` does not take, that are missing, or that its annotations or rules exclude.

    Args:
        part: a class or a function.
        arguments: by name.
        unbuilt: names of those that are sections of their own; rules across arguments wait until they are built.

    Raises:
        ArgumentError: naming the argument, its value, and what would do.
    """
    known, open_ended = taken_by(part)
    for key, value in arguments.items():
        if key not in known:
            if open_ended:
                continue
            own = [name for name in known if arguments.get(name) is not LATER]
            raise ArgumentError(key, NOT_GIVEN, f"{_name(part)} takes no such argument{nearest(key, own)}")
        _judge_value(key, value, known[key])
    for key, argument in known.items():
        if argument.default is inspect.Parameter.empty and key not in arguments:
            raise ArgumentError(key, NOT_GIVEN, f"{_name(part)} needs a value for it")
    check = getattr(part, "check", None)
    if inspect.isclass(part) and check is not None and not unbuilt:
        check({**{key: argument.default for key, argument in known.items()}, **arguments})


def judged(part: Callable[_Given, _Made]) -> Callable[_Given, _Made]:
    """A function that judges its arguments by its annotations when it is called, as classes of parts do."""

    @wraps(part)
    def call(*args: _Given.args, **kwargs: _Given.kwargs) -> _Made:
        judge(part, inspect.signature(part).bind(*args, **kwargs).arguments)
        return part(*args, **kwargs)

    return call


def arguments_of(part: Callable[..., Any]) -> dict[str, Any]:
    """The arguments that a part takes by name, with their annotations."""
    return {key: argument.hint for key, argument in taken_by(part)[0].items()}


def defaults_of(part: Callable[..., Any]) -> dict[str, Any]:
    """The arguments that a part can do without, with their defaults."""
    arguments = taken_by(part)[0].items()
    return {key: one.default for key, one in arguments if one.default is not inspect.Parameter.empty}


def locate(target: str, where: str = "") -> Any:
    """The class or function that a dotted path names.

    Args:
        target: such as ``my_losses.PullTogether``.
        where: the key that names it, for the message.

    Raises:
        InputError: no such module, with a hint at PYTHONPATH, or nothing of that name in it.
    """
    place = f"{where}_target_={target}"
    module, _, name = target.rpartition(".")
    if not module or not all(word.isidentifier() for word in target.split(".")):
        raise InputError(f"{place}: it has to be the dotted path of a class, such as my_losses.PullTogether")
    try:
        found = import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise InputError(
                f"{place}: importing {module} needs the module {error.name}, which is not there"
            ) from error
        raise InputError(f"{place}: no module {error.name}; put the folder that holds it on PYTHONPATH") from error
    except Exception as error:
        line = " ".join(str(error).split())[:200]
        raise InputError(f"{place}: importing {module} fails: {type(error).__name__}: {line}") from error
    if not hasattr(found, name):
        public = [key for key in dir(found) if not key.startswith("_")]
        raise InputError(f"{place}: {module} has no {name}{nearest(name, public)}")
    return getattr(found, name)


class Kind(NamedTuple):
    """What a part has to be derived from."""

    base: str
    """The dotted path of a class."""
    words: str

    def check(self, part: Any, place: str) -> None:
        """Refuse a part that is none, with its place as ``callbacks.mine._target_=my.Class``."""
        if not (inspect.isclass(part) and issubclass(part, locate(self.base))):
            raise InputError(f"{place}: it has to be {self.words}")


def check_section(
    section: Mapping[str, Any], where: str, further: Mapping[str, Any] | None = None, kind: Kind | None = None
) -> Any:
    """Judge a section of a config, and those within it, by their ``_target_``, without building anything.

    Args:
        section: ``_target_``, ``name`` (the choice, not an argument) and arguments.
        where: the section's key, such as ``loss``.
        further: arguments that are known later, such as the number of classes.
        kind: what the part has to be.

    Returns:
        the class or function.

    Raises:
        InputError: as of :func:`locate` and :func:`judge`, with the whole key.
    """
    part = locate(str(section["_target_"]), f"{where}.")
    if kind is not None:
        kind.check(part, f"{where}._target_={section['_target_']}")
    further = further or {}
    given = with_place(partial(_given, section, part, further), where)
    plain = _plain_arguments(part)
    within = {key: list(_sections(value, f"{where}.{key}")) for key, value in given.items() if key not in plain}
    for inner in within.values():
        for own, place in inner:
            check_section(own, place)
    built = {key: LATER for key, inner in within.items() if inner}
    with_place(partial(judge, part, {**given, **built, **further}, built), where)
    return part


def instantiate(section: Mapping[str, Any], where: str, **further: Any) -> Any:
    """The object that a section of a config describes; sections within it that have a ``_target_`` are built first.

    Args:
        section, where: as of :func:`check_section`.
        further: arguments beside those of the section, which they replace.

    Raises:
        InputError: as of :func:`check_section`, or from the constructor.
        NotBuilt: another exception from the constructor of a part that does not ship; one that ships has a bug then.
    """
    part = locate(str(section["_target_"]), f"{where}.")
    given = with_place(partial(_given, section, part, further), where)
    plain = _plain_arguments(part)
    built = {key: value if key in plain else _built(value, f"{where}.{key}") for key, value in given.items()}
    arguments = {**built, **further}
    if not isinstance(part, PartType):
        with_place(partial(judge, part, arguments), where)
    try:
        return with_place(partial(part, **arguments), where)
    except (InputError, RunError):
        raise
    except Exception as error:
        if str(getattr(part, "__module__", "")).startswith("metriscope."):
            raise
        last = traceback.extract_tb(error.__traceback__)[-1]
        line = " ".join(str(error).split())[:200] or "no reason is given"
        words = f"{where}: {line} ({type(error).__name__} in line {last.lineno} of {last.filename})"
        raise NotBuilt(words, error) from error


def with_place(call: Callable[[], Any], where: str) -> Any:
    """What ``call`` returns; an argument that it refuses is named with its place in the config."""
    try:
        return call()
    except ArgumentError as error:
        raise error.at(f"{where}.") from error


def _plain_arguments(part: Callable[..., Any]) -> Collection[str]:
    """The arguments in which a part never takes a ``_target_`` for a section, by its class's attribute."""
    names: Collection[str] = getattr(part, "plain_arguments", ())
    return names


def _sections(value: Any, where: str) -> Iterator[tuple[Mapping[str, Any], str]]:
    """The sections in a value that become parts, with their places; those within them are left out."""
    if isinstance(value, Mapping) and "_target_" in value:
        yield value, where
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _sections(inner, f"{where}.{key}")
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _sections(inner, f"{where}[{place}]")


def _built(value: Any, where: str) -> Any:
    """The same value with the parts of its sections in their places."""
    if isinstance(value, Mapping) and "_target_" in value:
        return instantiate(value, where)
    if isinstance(value, Mapping):
        return {key: _built(inner, f"{where}.{key}") for key, inner in value.items()}
    if isinstance(value, list):
        return [_built(inner, f"{where}[{place}]") for place, inner in enumerate(value)]
    return value


# Words of Hydra's instantiate; everything here is called at once, with arguments by name and plain values.
_OF_HYDRA = ("_args_", "_convert_", "_partial_", "_recursive_")


def _given(section: Mapping[str, Any], part: Callable[..., Any], further: Mapping[str, Any]) -> dict[str, Any]:
    for key in _OF_HYDRA:
        if key in section:
            raise ArgumentError(key, section[key], "it is not supported: give arguments by their names")
    known, _ = taken_by(part)
    for key in further:
        if key in section:
            raise ArgumentError(key, NOT_GIVEN, "the run itself knows it: leave it out")
    # The name of a choice is an argument only of parts that ask for one.
    return {key: value for key, value in section.items() if key != "_target_" and (key != "name" or key in known)}


def _judge_value(key: str, value: Any, argument: Argument) -> None:
    if value is LATER or argument.adapter is None or (value is None and argument.default is None):
        return
    # A config has no tuples: a list stands for one.
    forms = (value, tuple(value)) if isinstance(value, list) else (value,)
    for form in forms:
        try:
            argument.adapter.validate_python(form)
        except ValidationError:
            continue
        return
    raise ArgumentError(key, value, f"it has to be {wanted(argument.hint, value)}")


def _name(part: Callable[..., Any]) -> str:
    return getattr(part, "__name__", type(part).__name__)
