"""The objectives of a config: one, or the entries of ``loss.losses``, each with the parts that it is made of."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from metriscope.annotations import said
from metriscope.config.across import ACROSS, Across, left_out
from metriscope.config.files import choices
from metriscope.errors import InputError, nearest

Section = Mapping[str, Any]

SPACES = ("embedding", "trunk")
"""Outputs of the network that can be compared."""
OWN_PARTS = ("miner", "distance")
"""Parts that an entry may name itself; those of the config are its defaults."""
_OTHERS = {"weight", "space", "pairs_across", *OWN_PARTS}
ENTRY_KEYS = frozenset({"name", "_target_", *_OTHERS})
"""Keys of an entry that are no arguments of its loss."""


class Entry(NamedTuple):
    """One objective of a config.

    Attributes:
        where: its key, ``loss`` or ``loss.losses[k]``.
        loss, miner, distance: sections.
        own: which of miner and distance it names itself.
        space: the output of the network that it compares.
        weight: its factor in the sum.
        pairs_across: the references that an anchor is compared with where data have two sides; None for all.
    """

    where: str
    loss: Section
    miner: Section
    distance: Section
    own: frozenset[str] = frozenset()
    space: str = "embedding"
    weight: float = 1.0
    pairs_across: Across | None = None

    def key_of(self, part: str) -> str:
        """The key of its miner or distance."""
        return f"{self.where}.{part}" if part in self.own else part


def is_sum(loss: Section) -> bool:
    """Whether a section ``loss`` lists several losses."""
    return "losses" in loss and "_target_" not in loss


def entries(config: Section) -> list[Entry]:
    """The objectives of a plain config.

    Raises:
        InputError: an entry that cannot be one.
    """
    loss, miner, distance = config["loss"], config["miner"], config["distance"]
    across = _across(config.get("pairs_across"), "pairs_across")
    if not is_sum(loss):
        return [Entry("loss", loss, miner, distance, pairs_across=across)]
    if loss["losses"] is not None and not isinstance(loss["losses"], list):
        raise InputError(f"loss.losses={said(loss['losses'])}: it has to be a list, each with a name and a weight")
    if not loss["losses"]:
        raise InputError("loss.losses is empty: list the losses to add, each with a name and a weight")
    return [_entry(one, f"loss.losses[{place}]", miner, distance, across) for place, one in enumerate(loss["losses"])]


def _across(value: Any, where: str) -> Across | None:
    if value is not None and value not in ACROSS:
        raise InputError(f"{where}={said(value)}: it has to be one of {', '.join(ACROSS)}{nearest(str(value), ACROSS)}")
    return left_out(value)


def _entry(entry: Any, where: str, miner: Section, distance: Section, across: Across | None) -> Entry:
    if not isinstance(entry, Mapping):
        raise InputError(f"{where}={said(entry)}: it has to be a mapping with a name and a weight")
    if not isinstance(entry.get("name"), str):
        raise InputError(f"{where}.name={said(entry.get('name'))}: it has to be the name of a loss")
    if is_sum(entry):
        raise InputError(f"{where}: a sum holds no further sum; list its losses with the others")
    if "_target_" not in entry:
        name = entry["name"]
        raise InputError(f"{where}: no loss {name}{nearest(name, choices('loss'))}")
    weight, space = entry.get("weight", 1.0), entry.get("space", "embedding")
    if not isinstance(weight, int | float) or isinstance(weight, bool) or not 0 <= weight < math.inf:
        raise InputError(f"{where}.weight={said(weight)}: it has to be a number of at least 0")
    if space not in SPACES:
        raise InputError(
            f"{where}.space={said(space)}: it has to be one of {', '.join(SPACES)}{nearest(str(space), SPACES)}"
        )
    parts = {"miner": miner, "distance": distance}
    own = {part: entry[part] for part in OWN_PARTS if entry.get(part) is not None}
    for part, section in own.items():
        if not isinstance(section, Mapping) or "_target_" not in section:
            name = str(section.get("name")) if isinstance(section, Mapping) else str(section)
            raise InputError(f"{where}.{part}: no {part} {name}{nearest(name, choices(part))}")
    loss = {key: value for key, value in entry.items() if key not in _OTHERS}
    parts.update(own)
    if entry.get("pairs_across") is not None:
        across = _across(entry["pairs_across"], f"{where}.pairs_across")
    return Entry(where, loss, parts["miner"], parts["distance"], frozenset(own), str(space), float(weight), across)
