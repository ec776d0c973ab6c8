"""Sections that describe a part, and which of their keys are not arguments of its ``_target_``."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from metriscope.parts import check_section


class Section(NamedTuple):
    """How a section of the config becomes a part."""

    others: frozenset[str]
    """Keys that somebody else reads."""
    further: Mapping[str, Any]
    """Arguments that are known later, with values that stand for them."""

    def arguments(self, section: Mapping[str, Any]) -> dict[str, Any]:
        """The section without the keys that somebody else reads; ``_target_`` and ``name`` stay."""
        return {key: value for key, value in section.items() if key not in self.others}


_HABITS = {"library", "weights", "freeze", "freeze_batch_norm", "precision", "cache_features", "channels_last"}
_SPLIT = {"protocol", "fold", "validation", "num_workers", "cache", "memory_limit_mb"}
_STATISTICS = {"mean", "std"}

SECTIONS = {
    "dataset": Section(frozenset({"name"} | _SPLIT | _STATISTICS), {}),
    "backbone": Section(frozenset(_HABITS | _STATISTICS), {"shape": (1, 1, 1)}),
    "head": Section(frozenset({"normalize"}), {"features": 1}),
    "memory": Section(frozenset(), {"embedding_size": 1}),
}


def check_sections(config: Mapping[str, Any]) -> None:
    """Refuse arguments that a part of these sections does not take. Imports the parts.

    Raises:
        InputError: naming the key, its value, and what would do.
    """
    for group, section in SECTIONS.items():
        if group == "memory" and not config[group]["size"]:
            continue
        check_section(section.arguments(config[group]), group, section.further)
