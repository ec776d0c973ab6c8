"""Metrics of evaluated sets: their base class, and those that a config asks for. Imports no torch."""

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from metriscope.errors import InputError, RunError
from metriscope.evaluation.measures import Measures
from metriscope.evaluation.metric import Direction, Metric
from metriscope.evaluation.metrics import metric_of, suffixed
from metriscope.parts import Kind, PartType, check_section, defaults_of, instantiate

if TYPE_CHECKING:
    from metriscope.evaluation.embedded import EvaluatedSet

_NAME = re.compile(r"[A-Za-z]\w*(?<!_step)", re.ASCII)
_OF_NAMES = "a key is made of letters, digits and _, and does not end in _step"


class SetMetric(metaclass=PartType):
    """A metric of a whole evaluated set, logged under the key that it has below ``evaluation.metrics``.

    One whose only split is ``test`` is computed once, at the end of a run. Each is computed of every layer of
    ``evaluation.layers``.

    Attributes:
        title: as tables and figures call it; the key where it is empty.
        section: what it is about.
        direction: which end is better; None where neither is.
        definition: one line.
        splits: what it is computed of: ``val``, ``test`` or both.
        headline: whether the table at the end of a run shows it.
        figures: of a metric that logs several figures: what there is to know about each, in place of the above. A
            ``{k}`` in a key stands for each number of the argument ``k``.
        references: whether it needs the embeddings of the training set. Such a metric is computed of ``test`` alone.
        of_sides: whether it is about data of two modalities, and needs them.
        classifies: whether one with references needs them to be of the classes of the evaluated set. Such a metric is
            computed where ``evaluation.classification`` allows it.
        unseen: whether one with references needs samples of classes that the training set has not.
    """

    title: ClassVar[str] = ""
    section: ClassVar[str] = "own"
    direction: ClassVar[Direction | None] = None
    definition: ClassVar[str] = ""
    splits: ClassVar[tuple[str, ...]] = ("val", "test")
    headline: ClassVar[bool] = True
    figures: ClassVar[tuple[Metric, ...]] = ()
    references: ClassVar[bool] = False
    of_sides: ClassVar[bool] = False
    classifies: ClassVar[bool] = True
    unseen: ClassVar[bool] = False

    def __init__(self) -> None:
        """Without arguments. Those of a subclass are keys beside ``_target_``."""

    def measures(self) -> Measures | None:
        """What it takes from the ranking of neighbours, which is made once for all metrics; None for nothing."""
        return None

    def __call__(self, embedded: "EvaluatedSet") -> float | Mapping[str, float]:
        """The figure of embeddings (N, D) with labels (N,), the same on every process.

        A metric with several figures returns them by the keys that it logs.
        """
        raise NotImplementedError

    @classmethod
    def logged(cls, key: str, arguments: Mapping[str, Any]) -> tuple[Metric, ...]:
        """What is logged.

        Args:
            key: below ``evaluation.metrics``.
            arguments: of the constructor, defaults included.
        """
        if cls.figures:
            k = arguments.get("k", ())
            return tuple(one for figure in cls.figures for one in figure.members([k] if isinstance(k, int) else k))
        title = cls.title or key
        return (Metric(key, title, cls.section, cls.direction, cls.definition, cls.splits, cls.headline),)


_METRIC = Kind(f"{__name__}.SetMetric", "a subclass of metriscope's SetMetric")


class Asked(NamedTuple):
    """A metric that a config asks for."""

    key: str
    """Below ``evaluation.metrics``."""
    part: type[SetMetric]
    figures: tuple[Metric, ...]
    """What it logs."""

    @property
    def at_end(self) -> bool:
        """Whether it is computed once, at the end of a run."""
        return all(figure.splits == ("test",) for figure in self.figures)


class Built(NamedTuple):
    """A metric that a config asks for, ready to compute."""

    asked: Asked
    metric: SetMetric

    def of(self, embedded: "EvaluatedSet") -> dict[str, float]:
        """The figures, by the keys that are logged; without means over no query or no pair.

        Raises:
            RunError: the metric fails, or returns no number, or other figures than it says.
        """
        names = [figure.key for figure in self.asked.figures]
        try:
            found = self.metric(embedded)
            values = dict(found) if isinstance(found, Mapping) else {self.asked.key: found}
            if values.keys() != set(names):
                raise ValueError(f"it returns {', '.join(map(str, values))} where it logs {', '.join(names)}")
            if texts := [name for name in names if isinstance(values[name], str)]:
                raise TypeError(f"{texts[0]} is a text where it has to be a number")
            numbers = {name: float(values[name]) for name in names}
            empty = {one.key for one in self.asked.figures if one.may_be_absent}
            return {name: value for name, value in numbers.items() if not (name in empty and math.isnan(value))}
        except (InputError, RunError):
            raise
        except Exception as error:
            line = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            raise RunError(
                f"evaluation.metrics.{self.asked.key} of {len(embedded.labels)} embeddings failed: {line}"
            ) from error


def asked_metrics(evaluation: Mapping[str, Any]) -> list[Asked]:
    """The metrics that a section ``evaluation`` asks for; their arguments are judged.

    Raises:
        InputError: a key or a class that cannot serve, or an argument that the class refuses.
    """
    found: list[Asked] = []
    logged: dict[str, str] = {}
    for key, section in _sections(evaluation).items():
        where = f"evaluation.metrics.{key}"
        one = _asked(key, section, where)
        for figure in one.figures:
            if figure.key in logged:
                raise InputError(f"{where} logs {figure.key}, as {logged[figure.key]} does: switch one of them off")
            logged[figure.key] = where
        found.append(one)
    return found


def _asked(key: str, section: Any, where: str) -> Asked:
    if not _NAME.fullmatch(key):
        raise InputError(f"{where}: {_OF_NAMES}")
    if not isinstance(section, Mapping) or "_target_" not in section:
        raise InputError(f"{where} needs the dotted path of a class as its _target_")
    part: type[SetMetric] = check_section(section, where, kind=_METRIC)
    if not isinstance(part.figures, tuple | list) or not all(isinstance(one, Metric) for one in part.figures):
        raise InputError(f"{where}: its figures are {part.figures!r}; they have to be a tuple of Metric")
    figures = part.logged(key, {**defaults_of(part), **section})
    for figure in figures:
        _check_figure(figure, part, where)
    if part.__call__ is SetMetric.__call__:
        raise InputError(f"{where}: {part.__name__} has no __call__(self, embedded), which returns the figure")
    return Asked(key, part, figures)


def _check_figure(figure: Metric, part: type[SetMetric], where: str) -> None:
    if metric_of(figure.key) is not None and not part.__module__.startswith("metriscope."):
        raise InputError(f"{where}: a metric of this name ships; choose another name")
    if not _NAME.fullmatch(figure.key):
        raise InputError(f"{where} logs {figure.key}: {_OF_NAMES}")
    if not all(isinstance(text, str) for text in (figure.title, figure.section, figure.definition)):
        raise InputError(f"{where}: its title, section and definition have to be texts")
    if figure.direction not in ("max", "min", None):
        raise InputError(f"{where}: its direction is {figure.direction!r}; it has to be 'max', 'min' or None")
    splits = set(figure.splits) if isinstance(figure.splits, tuple) else None
    if not splits or splits - {"val", "test"} or (part.references and "val" in splits):
        rule = "('test',)" if part.references else "a tuple of 'val' and 'test'"
        raise InputError(f"{where}: its splits are {figure.splits!r}; they have to be {rule}")


def own_metrics(evaluation: Mapping[str, Any]) -> dict[str, Metric]:
    """What a section ``evaluation`` logs beside the registry, by key; errors as of :func:`asked_metrics`."""
    figures = [figure for one in asked_metrics(evaluation) for figure in one.figures]
    return {figure.key: figure for figure in figures if metric_of(figure.key) is None}


def known_metric(key: str, evaluation: Mapping[str, Any]) -> Metric | None:
    """The metric of a logged key: one of one's own, or one of the registry; None where neither has it."""
    name = key.rpartition("/")[2]
    if (registered := metric_of(name)) is not None:
        return registered
    own = own_metrics(evaluation)
    layer = own.get(name.removesuffix("_trunk"))
    if name not in own and layer is not None:
        return suffixed(layer, "_trunk")
    return own.get(name)


def build_metrics(evaluation: Mapping[str, Any]) -> list[Built]:
    """The objects that :func:`asked_metrics` describes.

    Raises:
        InputError: a constructor refuses its arguments.
    """
    sections = _sections(evaluation)
    return [_built(one, sections[one.key]) for one in asked_metrics(evaluation)]


def _built(asked: Asked, section: Mapping[str, Any]) -> Built:
    where = f"evaluation.metrics.{asked.key}"
    metric: SetMetric = instantiate(section, where)
    measures = metric.measures()
    if not isinstance(measures, Measures | None):
        raise InputError(f"{where}: measures() returns {measures!r}; it has to return Measures or None")
    if measures is not None:
        measures.check(f"{where}: ")
    return Built(asked, metric)


def _sections(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """What stands below ``evaluation.metrics``, without what is switched off."""
    sections = evaluation.get("metrics") or {}
    return {str(key): section for key, section in sections.items() if section is not None and section is not False}
