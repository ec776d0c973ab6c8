"""Metrics of one's own: their base class, and what a config says of them. Imports no torch."""

import inspect
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from metriscope.errors import InputError
from metriscope.evaluation.metrics import Direction, Metric, metric_of
from metriscope.parts import PartType, check_section, instantiate

if TYPE_CHECKING:
    from metriscope.evaluation.embedded import EvaluatedSet

_NAME = re.compile(r"[A-Za-z]\w*(?<!_step)", re.ASCII)


class SetMetric(metaclass=PartType):
    """A metric of a whole evaluated set, logged under the key that it has below ``evaluation.metrics``.

    Attributes:
        title: as tables and figures call it; the key where it is empty.
        section: what it is about.
        direction: which end is better; None where neither is.
        definition: one line.
    """

    title: ClassVar[str] = ""
    section: ClassVar[str] = "own"
    direction: ClassVar[Direction | None] = None
    definition: ClassVar[str] = ""

    def __init__(self) -> None:
        """Without arguments. Those of a subclass are keys beside ``_target_``."""

    def __call__(self, embedded: "EvaluatedSet") -> float:
        """The figure of embeddings (N, D) with labels (N,), the same on every process."""
        raise NotImplementedError


def own_metrics(evaluation: Mapping[str, Any]) -> dict[str, Metric]:
    """The metrics of one's own that a section ``evaluation`` names, by key; their arguments are judged.

    Raises:
        InputError: a key or a class that cannot serve, or an argument that the class refuses.
    """
    found = {}
    for key, section in (evaluation.get("metrics") or {}).items():
        where = f"evaluation.metrics.{key}"
        if not _NAME.fullmatch(str(key)):
            raise InputError(f"{where}: a key is made of letters, digits and _, and does not end in _step")
        if metric_of(str(key)) is not None:
            raise InputError(f"{where}: a metric of this name ships; choose another name")
        if not isinstance(section, Mapping) or "_target_" not in section:
            raise InputError(f"{where} needs the dotted path of a class as its _target_")
        part = check_section(section, where)
        if not (inspect.isclass(part) and issubclass(part, SetMetric)):
            raise InputError(
                f"{where}._target_={section['_target_']}: it has to be a subclass of metriscope's SetMetric"
            )
        if part.direction not in ("max", "min", None):
            raise InputError(f"{where}: its direction is {part.direction!r}; it has to be 'max', 'min' or None")
        found[str(key)] = Metric(
            str(key), part.title or str(key), part.section, part.direction, part.definition, headline=True
        )
    return found


def known_metric(key: str, evaluation: Mapping[str, Any]) -> Metric | None:
    """The metric of a logged key: one of one's own, or one of the registry; None where neither has it."""
    own, name = own_metrics(evaluation), key.rpartition("/")[2]
    layer = own.get(name.removesuffix("_trunk"))
    if name not in own and layer is not None:
        return replace(layer, key=name, title=f"{layer.title} (trunk)", headline=False)
    return own.get(name) or metric_of(key)


def build_own_metrics(evaluation: Mapping[str, Any]) -> dict[str, SetMetric]:
    """The objects that :func:`own_metrics` describes.

    Raises:
        InputError: a constructor refuses its arguments.
    """
    sections = evaluation.get("metrics") or {}
    return {str(key): instantiate(section, f"evaluation.metrics.{key}") for key, section in sections.items()}
