"""Lightning callbacks by name, in ``callbacks`` and ``diagnostics``, which judge their own arguments. Imports them."""

from collections.abc import Iterator, Mapping
from typing import Any

from metriscope.annotations import said
from metriscope.errors import InputError
from metriscope.evaluation.monitors import monitor_of
from metriscope.parts import Kind, arguments_of, check_section, locate

Section = Mapping[str, Any]

CALLBACK = Kind("pytorch_lightning.Callback", "a Lightning callback")


def callback_sections(group: str, sections: Section, evaluation: Section) -> Iterator[tuple[str, Section]]:
    """The section of each callback after its key, as it is built; null, false and an empty one stand for none.

    One that goes by a metric gets the better end of it, unless it says one.

    Args:
        group: the key of all, ``callbacks`` or ``diagnostics``.
        sections: by name.
        evaluation: the section of that name.

    Raises:
        InputError: a section that names no class, or one that is not there.
    """
    for key, section in sections.items():
        if key == "name" or section is None or section is False or section == {}:
            continue
        where = f"{group}.{key}"
        if not isinstance(section, Mapping) or "_target_" not in section:
            raise InputError(
                f"{where}={said(section)}: it has to be a section with the dotted path of a Lightning callback as its "
                "_target_"
            )
        takes = "mode" in section or "mode" in arguments_of(locate(str(section["_target_"]), f"{where}."))
        goes_by = section.get("monitor") and takes
        yield where, {**section, "mode": monitor_of(section, where, evaluation).mode} if goes_by else section


def check_callbacks(config: Section) -> None:
    """Refuse what is no callback, and arguments that it does not take.

    Args:
        config: plain and resolved.

    Raises:
        InputError: naming the key, its value, and what would do.
    """
    for group in ("diagnostics", "callbacks"):
        for where, section in callback_sections(group, config[group], config["evaluation"]):
            check_section(section, where, kind=CALLBACK)
