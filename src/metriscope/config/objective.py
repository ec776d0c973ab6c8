"""Rules of loss, miner, distance and memory: each judges its arguments, and together they have to fit."""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

from metriscope.annotations import said
from metriscope.config.files import choices, section
from metriscope.errors import InputError, nearest
from metriscope.parts import ArgumentError, check_section, instantiate, locate, with_place

# Stand for sizes that are known once the data are read.
_SIZES = {"num_classes": 2, "embedding_size": 2}


def check_objective(config: Mapping[str, Any]) -> None:
    """Refuse a part that refuses its arguments, and parts that do not fit together. Imports the parts.

    Args:
        config: plain and resolved.

    Raises:
        InputError: naming the key, its value, and what would do.
    """
    check_fit(config)
    check_losses(config["loss"])
    for group in ("miner", "distance"):
        check_section(config[group], group)


def check_fit(config: Mapping[str, Any]) -> None:
    """Refuse parts that do not fit together, whatever their arguments.

    Raises:
        InputError: naming the parts, and which would fit.
    """
    sections = _losses(config["loss"])
    losses = [_traits(section, where) for section, where in sections]
    miner = _traits(config["miner"], "miner")
    name, kind, accepts = config["miner"]["name"], miner.kind, _accepted(losses)
    if kind not in accepts:
        raise InputError(
            f"loss={config['loss']['name']} cannot take miner={name} (it selects {kind}): "
            f"use one of {', '.join(fitting_miners(accepts))}"
        )
    if getattr(miner, "needs_unit_sphere", False) and not config["head"]["normalize"]:
        raise InputError(f"miner={name} needs embeddings on the unit sphere: set head.normalize=true")
    if config["memory"]["size"] and not any(_compares(section, where) for section, where in sections):
        raise InputError(
            f"memory={config['memory']['name']} gives loss={config['loss']['name']} nothing: "
            "it compares with its own parameters"
        )
    for part in (*losses, miner):
        if config["memory"]["size"] and getattr(part, "no_memory", ""):
            raise InputError(f"memory={config['memory']['name']} does not go with {part.name}: {part.no_memory}")


def _compares(section: Mapping[str, Any], where: str) -> bool:
    """Whether a loss compares samples with each other; True where its arguments are refused, which comes later."""
    takes_sizes = _class_of(section, where).takes_sizes
    import torch

    with torch.random.fork_rng(devices=[]):
        try:
            loss = instantiate(section, where, **(_SIZES if takes_sizes else {}))
        except InputError:
            return True
        return not hasattr(loss, "compares") or bool(loss.compares(_SIZES["embedding_size"]))


def check_losses(section: Mapping[str, Any]) -> None:
    """Refuse arguments that the loss, or a loss of a sum, does not take."""
    for own, where in _losses(section):
        takes_sizes = _class_of(own, where).takes_sizes
        check_section(own, where, _SIZES if takes_sizes else None)


def shipped(group: str) -> dict[str, Any]:
    """The class of every shipped choice of a group, by name; not of choices that open another library."""
    sections = {name: section(group, name) for name in choices(group)}
    return {name: locate(str(own._target_)) for name, own in sections.items() if "_target_" in own and own.name == name}


def fitting_miners(accepts: frozenset[str]) -> list[str]:
    """Names of the shipped miners whose selections are among those accepted."""
    return [name for name, miner in shipped("miner").items() if miner.kind in accepts]


def _losses(section: Mapping[str, Any]) -> list[tuple[Mapping[str, Any], str]]:
    """The section of each loss, with its place: one, or those of a sum."""
    if section["name"] != "sum":
        return [(section, "loss")]
    if not isinstance(section["losses"], list) or not section["losses"]:
        raise InputError("loss.losses is empty: list the losses to add, each with a name and a weight")
    return [_entry(entry, f"loss.losses[{place}]") for place, entry in enumerate(section["losses"])]


def _entry(entry: Any, where: str) -> tuple[Mapping[str, Any], str]:
    if not isinstance(entry, Mapping):
        raise InputError(f"{where}={said(entry)}: it has to be a mapping with a name and a weight")
    if "_target_" not in entry:
        name = str(entry.get("name"))
        raise InputError(f"{where}: no loss {name}{nearest(name, choices('loss'))}")
    weight = entry.get("weight", 1.0)
    if not isinstance(weight, int | float) or isinstance(weight, bool) or not 0 <= weight < math.inf:
        raise InputError(f"{where}.weight={said(weight)}: it has to be a number of at least 0")
    return {key: value for key, value in entry.items() if key != "weight"}, where


# Attributes that a class has to have, each with an example.
_ATTRIBUTES = {"loss": {"accepts": 'frozenset({"all"})', "hinge": "False"}, "miner": {"kind": '"triplets"'}}


def _class_of(section: Mapping[str, Any], where: str) -> Any:
    part = locate(str(section.get("_target_")), f"{where}.")
    for attribute, example in _ATTRIBUTES[where.split(".")[0]].items():
        if not hasattr(part, attribute):
            name = getattr(part, "__name__", str(part))
            raise InputError(f"{where}={section['name']}: {name} lacks an attribute: give it {attribute} = {example}")
    return part


def _traits(section: Mapping[str, Any], where: str) -> Any:
    """What a part takes or gives: attributes of its class, or what the class says of parts with these arguments."""
    part = _class_of(section, where)
    if not hasattr(part, "traits"):
        return part
    # Where the config does not resolve, the name stands for itself.
    name = section["name"] if str(section["peer"]).startswith("${") else section["peer"]
    try:
        return with_place(partial(part.traits, name, section["arguments"]), where)
    except ArgumentError as error:
        if error.key != "peer" or name != section["name"]:
            raise
        if "losses" in where:
            raise ArgumentError("peer", name, "give the name of a class as its peer", f"{where}.") from error
        raise ArgumentError("name", error.value, error.rule, f"{where}.") from error


def _accepted(losses: list[Any]) -> frozenset[str]:
    """What all losses of a sum take. A loss that takes no miner does not mind one."""
    if len(losses) == 1:
        accepts: frozenset[str] = losses[0].accepts
        return accepts
    choosy = [loss.accepts for loss in losses if loss.accepts - {"all", "none"}]
    return frozenset.intersection(*choosy) if choosy else frozenset({"none", "all"})
