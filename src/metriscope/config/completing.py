"""What a composed config says in full: keys of today, whole parts, losses of a sum, what all choices say."""

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict

from metriscope.annotations import said
from metriscope.config.aliases import tell, translated
from metriscope.config.defaults import groups, shared
from metriscope.config.entries import ENTRY_KEYS, OWN_PARTS
from metriscope.config.files import CONFIG_DIR, SEARCHED, SPACE, check_once, choices, section
from metriscope.config.plain import plain
from metriscope.config.sections import NO_PART, SECTIONS
from metriscope.config.switches import GROUPS, check_names, switched
from metriscope.errors import InputError, nearest


def complete(cfg: DictConfig, further: Sequence[Path] = (), given: Collection[str] = ()) -> DictConfig:
    """Add, in place, what the config leaves to others, and take out what searches alone read.

    A choice of one's own may leave out a key that every shipped choice of its group has with one and the same value,
    unless it is an argument of the part. Earlier keys become those of today, which is said once. A part that is just
    ``true`` becomes its section. An entry of ``loss.losses`` gets the keys of the loss that it names, so that a loss
    from a folder of one's own is known wherever the config goes.

    Args:
        cfg: a composed config.
        further: folders of further choices.
        given: keys of the command line.
    """
    check_names({group: plain(cfg[group], resolve=False) for group in (*GROUPS, "callbacks") if group in cfg}, further)
    with open_dict(cfg):
        for group in SEARCHED:
            if isinstance(cfg.get(group), DictConfig):
                cfg[group].pop(SPACE, None)
        for group in (group for group in GROUPS if group in cfg):
            before = {group: plain(cfg[group], resolve=False)}
            after, used = in_words_of_today(before, given)
            for old in used:
                tell(old)
            if after != before:
                cfg[group] = after[group]
        for group in groups():
            node = cfg.get(group)
            if not isinstance(node, DictConfig) or node.get("_target_") is None:
                continue
            others = SECTIONS[group].others if group in SECTIONS else shared(group)
            for key, value in shared(group).items():
                if key in others and OmegaConf.select(node, key, default=_ABSENT) is _ABSENT:
                    OmegaConf.update(node, key, value, force_add=True)
        entries = OmegaConf.select(cfg, "loss.losses", throw_on_missing=False)
        if isinstance(entries, ListConfig):
            cfg.loss.losses = [_whole(entry, place, further) for place, entry in enumerate(entries)]
    return cfg


def in_words_of_today(config: Mapping[str, Any], given: Collection[str] = ()) -> tuple[dict[str, Any], list[str]]:
    """A nested config without earlier keys and without parts that are just true or false; the earlier keys it had.

    Raises:
        InputError: as of :func:`metriscope.config.aliases.translated` and
            :func:`metriscope.config.switches.switched`.
    """
    # A part that is switched on may have arguments under their earlier names.
    found, used = translated(switched(config), given)
    return switched(found), used


_ABSENT = object()
# A key of the section loss that is not one of an entry.
_OF_LOSS = re.compile(r"\$\{loss\.(?!losses\b)")


def with_targets(config: Mapping[str, Any]) -> dict[str, Any]:
    """A plain config in which every part has a ``_target_``.

    A section without one, as earlier versions wrote it, gets that of the shipped choice of its name.

    Raises:
        InputError: no shipped choice has this name.
    """
    found = dict(config)
    for group, part in SECTIONS.items():
        own = found.setdefault(group, {"name": NO_PART}) if part.may_be_none else config.get(group)
        if isinstance(own, Mapping) and own.get("_target_") is None and not part.absent(own):
            found[group] = {**own, "_target_": _target(group, str(own.get("name")))}
    return found


def _target(group: str, name: str) -> str:
    if name in choices(group):
        return str(section(group, name)._target_)
    if (usual := SECTIONS[group].usual or shared(group).get("_target_")) is not None:
        return str(usual)
    there = choices(group)
    raise InputError(f"{group}={name} has no _target_, the dotted path of its class{nearest(name, there)}")


def _whole(entry: Any, place: int, further: Sequence[Path]) -> Any:
    if not isinstance(entry, DictConfig):
        return entry
    whole = whole_loss(plain(entry, resolve=False), further, f"loss.losses[{place}]")
    for part in OWN_PARTS:
        own = whole.get(part)
        if isinstance(own, Mapping):
            # A miner that takes its margin from the loss takes it from the loss of its entry.
            whole[part] = _of_entry(own, place)
    return whole


def whole_loss(entry: Mapping[str, Any], further: Sequence[Path] = (), where: str = "loss.losses") -> dict[str, Any]:
    """An entry of ``loss.losses`` with all keys of the parts that it names; as it is where there is no such part.

    Arguments of the loss stand beside its name, or below ``arguments``.

    Raises:
        InputError: what stands below ``arguments`` is no argument, or stands beside the name as well.
    """
    found = _whole_choice("loss", entry, further, where)
    for part in OWN_PARTS:
        own = found.get(part)
        if own is not None:
            own = own if isinstance(own, Mapping) else {"name": own}
            found[part] = _whole_choice(part, own, further, f"{where}.{part}")
    return found


def _whole_choice(group: str, own: Mapping[str, Any], further: Sequence[Path], where: str) -> dict[str, Any]:
    name = str(own.get("name"))
    if not str(own.get("_target_", "metriscope.")).startswith("metriscope."):
        return dict(own)
    check_once(group, name, further)
    for folder in (*further, CONFIG_DIR):
        if name in choices(group, folder):
            shipped = plain(section(group, name, folder), resolve=False)
            if "arguments" not in own or "arguments" in shipped:  # some parts have an argument of that name
                return {**shipped, **own}
            beside = {key: value for key, value in own.items() if key != "arguments"}
            return {**shipped, **_below(own["arguments"], beside, f"{where}.arguments"), **beside}
    return dict(own)


def _below(arguments: Any, beside: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    """What stands below ``arguments``, once it is found to be arguments alone, each given once."""
    if not isinstance(arguments, Mapping):
        raise InputError(f"{where}={said(arguments)}: it has to be a mapping of arguments to values")
    for key in arguments:
        if key in ENTRY_KEYS:
            raise InputError(f"{where}.{key}: it is no argument; put it beside the name")
        if key in beside:
            raise InputError(f"{where}.{key}: it stands beside the name as well; give it once")
    return arguments


def _of_entry(section: Mapping[str, Any], place: int) -> dict[str, Any]:
    """A section in which the keys of the loss are those of an entry; a section that is so already stays as it is."""
    return {
        key: _OF_LOSS.sub(f"${{loss.losses[{place}].", value) if isinstance(value, str) else value
        for key, value in section.items()
    }
