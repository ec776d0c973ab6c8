"""Rules of loss, miner, distance and memory: each judges its arguments, and together they have to fit."""

from collections.abc import Mapping, Sequence
from functools import cache, partial
from typing import Any

from metriscope.config.across import check_across
from metriscope.config.entries import OWN_PARTS, Entry, entries, is_sum
from metriscope.config.files import choices, section
from metriscope.config.sections import SIZES, sizes_for
from metriscope.errors import InputError
from metriscope.parts import ArgumentError, check_section, instantiate, locate, with_place


def check_objective(config: Mapping[str, Any]) -> None:
    """Refuse a part that refuses its arguments, and parts that do not fit together. Imports the parts.

    Args:
        config: plain and resolved.

    Raises:
        InputError: naming the key, its value, and what would do.
    """
    check_fit(config)
    for entry in entries(config):
        check_section(entry.loss, entry.where, sizes_for(entry.loss, SIZES))
        for part in OWN_PARTS:
            check_section(getattr(entry, part), entry.key_of(part))
        _check_batch(entry, config)
        if entry.pairs_across:
            _check_across(entry, config)


def _check_across(entry: Entry, config: Mapping[str, Any]) -> None:
    """Refuse a part that needs pairs which are left out; its arguments are judged already."""
    import torch

    further = config.get("references") or {}
    with torch.random.fork_rng(devices=[]):
        parts = [
            (f"{entry.where}={entry.loss['name']}", _made(entry.loss, entry.where)),
            (f"{entry.key_of('miner')}={entry.miner['name']}", _made(entry.miner, entry.key_of("miner"))),
        ]
    if "_target_" in further:
        parts.append((f"references={further['name']}", locate(str(further["_target_"]), "references.")))
    check_across(entry.pairs_across, parts)


def _made(section: Mapping[str, Any], where: str) -> Any:
    return instantiate(section, where, **sizes_for(section, SIZES))


def _check_batch(entry: Entry, config: Mapping[str, Any]) -> None:
    """Refuse an argument that no batch of the run can serve, where the loss knows one."""
    check = getattr(locate(str(entry.loss["_target_"])), "check_batch", None)
    batch, devices = config["sampler"].get("batch_size"), config["trainer"]["devices"]
    if check is not None and isinstance(batch, int) and isinstance(devices, int):
        views = config["sampler"].get("views") or 1
        # A batch of pairs has a sample for each side, unless one of them is left out.
        sides = 2 if config["backbone"]["name"] == "two_tower" and not entry.pairs_across else 1
        most = batch * views * sides * devices + config["memory"]["size"]
        with_place(partial(check, entry.loss, most), entry.where)


def check_fit(config: Mapping[str, Any]) -> None:
    """Refuse parts that do not fit together, whatever their arguments.

    Raises:
        InputError: naming the parts, and which would fit.
    """
    every = entries(config)
    if is_sum(config["loss"]) and (beside := sorted(config["loss"].keys() - {"name", "losses"})):
        raise InputError(f"loss.{beside[0]}: a sum has no such key; give it to one of its losses, below loss.losses")
    losses = [_traits(entry.loss, entry.where) for entry in every]
    sharing = [loss for entry, loss in zip(every, losses, strict=True) if "miner" not in entry.own]
    if sharing:
        _check_selection(_accepted(sharing), f"loss={config['loss']['name']}", config["miner"], "miner")
    for entry, loss in zip(every, losses, strict=True):
        if "miner" in entry.own:
            _check_selection(loss.accepts, f"{entry.where}={entry.loss['name']}", entry.miner, f"{entry.where}.miner")
        _check_space(entry, config)
    _check_references(config, every, losses)
    _check_weighting(config.get("weighting"), every, losses)
    _check_mixture(config.get("mixture"), every, losses)


def _check_selection(accepts: frozenset[str], loss: str, miner: Mapping[str, Any], where: str) -> None:
    kind = _traits(miner, where).kind
    if kind not in accepts:
        raise InputError(
            f"{loss} cannot take {where}={miner['name']} (it selects {kind}): "
            f"use one of {', '.join(fitting_miners(accepts))}"
        )


def _check_space(entry: Entry, config: Mapping[str, Any]) -> None:
    """The space has to learn, and to be what the miner and the distance need."""
    if entry.space == "trunk" and config["backbone"]["freeze"]:
        raise InputError(f"{entry.where}.space=trunk: nothing of a frozen trunk learns; set backbone.freeze=false")
    miner, distance = _traits(entry.miner, entry.key_of("miner")), _traits(entry.distance, entry.key_of("distance"))
    for key, name, needs in (
        (entry.key_of("miner"), entry.miner["name"], getattr(miner, "needs_unit_sphere", False)),
        (entry.key_of("distance"), entry.distance["name"], getattr(distance, "domain", "any") == "sphere"),
    ):
        if needs and entry.space != "embedding":
            raise InputError(f"{key}={name} needs vectors on the unit sphere, which the {entry.space} does not give")
        if needs and not config["head"]["normalize"]:
            raise InputError(f"{key}={name} needs embeddings on the unit sphere: set head.normalize=true")


def _check_references(config: Mapping[str, Any], every: Sequence[Entry], losses: Sequence[Any]) -> None:
    memory, further = config["memory"], config.get("references") or {}
    added = [f"memory={memory['name']}"] if memory["size"] else []
    added += [f"references={further['name']}"] if "_target_" in further else []
    if added and not any(_compares(entry) for entry in every):
        raise InputError(f"{added[0]} gives loss={config['loss']['name']} nothing: it compares with its own parameters")
    for entry in every:
        if further.get("spherical") and entry.space != "embedding":
            raise InputError(
                f"references={further['name']} makes samples of unit length, which the {entry.space} has not: "
                "set references.spherical=false"
            )
        if entry.miner.get("stand_ins") and "_target_" not in further:
            where = entry.key_of("miner")
            raise InputError(f"{where}.stand_ins=true: nothing stands for a sample; set references=embedding_expansion")
    parts = [*losses, *(_traits(entry.miner, entry.key_of("miner")) for entry in every)]
    for part in parts if added else ():
        if getattr(part, "no_memory", ""):
            raise InputError(f"{added[0]} does not go with {part.name}: {part.no_memory}")


def _check_weighting(weighting: Mapping[str, Any] | None, every: Sequence[Entry], losses: Sequence[Any]) -> None:
    if weighting is None or "_target_" not in weighting:
        return
    weighs: frozenset[str] = getattr(locate(str(weighting["_target_"]), "weighting."), "weighs", frozenset())
    for entry, loss in zip(every, losses, strict=True):
        if missing := weighs - getattr(loss, "weighable", frozenset()):
            fitting = [name for name, one in shipped("loss").items() if weighs <= one.weighable]
            raise InputError(
                f"weighting={weighting['name']} weighs {' and '.join(sorted(missing))}, which "
                f"{entry.where}={entry.loss['name']} cannot use: use one of {', '.join(fitting)}"
            )


def _check_mixture(mixture: Mapping[str, Any] | None, every: Sequence[Entry], losses: Sequence[Any]) -> None:
    if mixture is None or "_target_" not in mixture:
        return
    for entry, loss in zip(every, losses, strict=True):
        if not getattr(loss, "mixes", False):
            fitting = [name for name, one in shipped("loss").items() if one.mixes]
            raise InputError(
                f"mixture={mixture['name']} makes mixtures of samples, which {entry.where}={entry.loss['name']} "
                f"cannot take: use one of {', '.join(fitting)}"
            )


def _compares(entry: Entry) -> bool:
    """Whether a loss compares samples with each other; True where its arguments are refused, which comes later."""
    import torch

    with torch.random.fork_rng(devices=[]):
        try:
            loss = _made(entry.loss, entry.where)
        except InputError:
            return True
        return not hasattr(loss, "compares") or bool(loss.compares(SIZES["embedding_size"]))


@cache
def shipped(group: str) -> Mapping[str, Any]:
    """The class of every shipped choice of a group, by name; not of choices that open another library."""
    sections = {name: section(group, name) for name in choices(group)}
    return {name: locate(str(own._target_)) for name, own in sections.items() if "_target_" in own and own.name == name}


def fitting_miners(accepts: frozenset[str]) -> list[str]:
    """Names of the shipped miners whose selections are among those accepted."""
    return [name for name, miner in shipped("miner").items() if miner.kind in accepts]


# Attributes that a class has to have, each with an example.
_ATTRIBUTES = {"loss": {"accepts": 'frozenset({"all"})', "hinge": "False"}, "miner": {"kind": '"triplets"'}}


def _class_of(section: Mapping[str, Any], where: str) -> Any:
    part = locate(str(section.get("_target_")), f"{where}.")
    last = where.rpartition(".")[2].partition("[")[0]
    for attribute, example in _ATTRIBUTES.get("loss" if last == "losses" else last, {}).items():
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
