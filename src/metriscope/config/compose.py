"""From words of a command line to a config; a word that does not fit is answered with the nearest that would."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf, open_dict

from metriscope.annotations import said
from metriscope.config.completing import complete
from metriscope.config.defaults import of_all, shared
from metriscope.config.files import CONFIG_DIR, SEARCHED, SPACE, all_choices, check_once, choices, section
from metriscope.config.hydra import apply_overrides
from metriscope.config.installed import installed
from metriscope.config.known import suggestion
from metriscope.config.plain import flatten, plain
from metriscope.config.search_path import folders, of_search_path, with_folder
from metriscope.config.sections import SECTIONS
from metriscope.config.words import first_lines, forced, keys_of, parse
from metriscope.errors import InputError, nearest


def compose_config(words: Sequence[str], config_dir: str | Path | None = None, with_hydra: bool = False) -> DictConfig:
    """The config that Hydra composes from these overrides, also for tests and scripts.

    >>> from metriscope import compose_config
    >>> compose_config(["loss=triplet", "loss.margin=0.3"]).loss.margin
    0.3

    Args:
        words: overrides, as on the command line.
        config_dir: a folder of further choices; ``hydra.searchpath`` among the words does the same.
        with_hydra: whether Hydra's own settings are left in it, below ``hydra``.

    Raises:
        InputError: an unknown choice or key, with the nearest match, a choice that is in two folders, or a folder
            that is not there.
    """
    words = forced(with_folder(words, config_dir))
    return complete(_composed(words, with_hydra), folders(words), keys_of(words))


def _composed(words: Sequence[str], with_hydra: bool = False) -> DictConfig:
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        try:
            cfg = compose("train", overrides=list(words), return_hydra_config=True)
        except yaml.YAMLError as error:
            raise InputError(f"a config cannot be read: {first_lines(error)}") from error
        except (HydraException, ValueError) as error:
            raise InputError(_explain(error, words)) from error
    if further := folders(words):
        for group, name in cfg.hydra.runtime.choices.items():
            check_once(str(group), str(name), further)
    if not with_hydra:
        with open_dict(cfg):
            del cfg["hydra"]
    _check_labels([parse(word) for word in words], cfg)
    return cfg


class Composer:
    """Composes many configs that differ little: choices of parts that come together are read once.

    Args:
        words: those among them that name folders of further choices hold for every config.
    """

    def __init__(self, words: Sequence[str] = ()) -> None:
        words = with_folder(words, None)
        self._search_path = of_search_path(words)
        self._groups = _all_groups(words)
        self._chosen: dict[tuple[str, ...], DictConfig] = {}

    def __call__(self, words: Sequence[str]) -> DictConfig:
        """As :func:`compose_config`."""
        overrides = [(word, parse(word)) for word in forced(words)]
        parts = tuple(word for word, o in overrides if str(o.key_or_group) in self._groups or o.package)
        values = [o for word, o in overrides if word not in parts]
        try:
            if parts not in self._chosen:
                self._chosen[parts] = _composed([*parts, *self._search_path])
            cfg = self._chosen[parts].copy()
            apply_overrides(values, cfg)
            _check_labels(values, cfg)
            return complete(cfg, folders(self._search_path), keys_of(words))
        except (HydraException, InputError):
            return compose_config([*words, *self._search_path])  # its refusal sees all words


def _check_labels(overrides: Sequence[Override], cfg: DictConfig) -> None:
    """Refuse ``loss.name=triplet`` where ``loss=triplet`` is meant: the name alone would change the label only."""
    for override in overrides:
        group, _, key = str(override.key_or_group).partition(".")
        if group in SEARCHED and key.partition(".")[0] == SPACE:
            raise InputError(f"{override.input_line}: ranges of a part stand in its file; give others in sweep.space")
        if key == "_target_" and group in _LABELLED:
            same = [one for one in choices(group) if section(group, one).get("_target_") == str(override.value())]
            if same and cfg[group].name in choices(group) and cfg[group].name not in same:
                raise InputError(f"{override.input_line}: to choose another part, say {group}={same[0]}")
        if key != "name" or group not in _LABELLED or cfg[group].get("_target_") in _doors(group):
            continue
        value = str(override.value())
        if value in choices(group):
            raise InputError(f"{override.input_line}: to choose another part, say {group}={value}")
        doors = [name for name in choices(group) if section(group, name).get("_target_") in _doors(group)]
        others = f", or {group}={doors[0]} {group}.name={value}" if doors else ""
        raise InputError(
            f"{override.input_line}: a name is the label of a choice; choose with {group}=...{others}"
            f"{nearest(value, choices(group))}"
        )


# Groups whose ``_target_`` decides what is built, and whose name is a label.
_LABELLED = ("augmentation", "backbone", "distance", "head", "loss", "miner", "optimizer", "sampler", "scheduler")


@cache
def _doors(group: str) -> frozenset[str]:
    """Targets of the choices that open another library, where the name says which of its parts is meant."""
    sections = {name: section(group, name) for name in choices(group)}
    named = {name: plain(own, resolve=False) for name, own in sections.items() if "_target_" in own}
    return frozenset(str(own["_target_"]) for name, own in named.items() if own["name"] != name)


def _all_groups(words: Sequence[str]) -> set[str]:
    """Every group of choices, also those of the folders that the words name."""
    roots = [CONFIG_DIR, *folders(words)]
    return {path.relative_to(root).as_posix() for root in roots for path in root.rglob("*") if path.is_dir()}


# What Hydra says of a group that is chosen and added.
_TWICE = ("Multiple values", "more than once", "force-add")


def _explain(error: Exception, words: Sequence[str]) -> str:
    """One line for a config that does not compose."""
    overrides = [parse(word) for word in words]
    groups = _all_groups(words)
    for override in overrides:
        key, value = str(override.key_or_group), override.value()
        if key not in groups or isinstance(value, list):
            continue
        added = override.is_add() or override.is_force_add()
        if added and any(line in str(error) for line in _TWICE):
            return f"{override.input_line}: this group is chosen without a plus, {key}={value}"
        there = all_choices(key, folders(words))
        if value not in there:
            absent = "".join(f"; {line}" for line in installed().broken)
            close = nearest(said(value), there)
            return f"{key}={said(value)}: no such choice{close} There are: {', '.join(there)}{absent}"
    if isinstance(error, MissingConfigException):
        group, _, name = (error.missing_cfg_file or "").rpartition("/")
        if group in groups and error.options:
            there = sorted(error.options)
            return f"{group}={name}: no such choice, and another choice asks for it. There are: {', '.join(there)}"
        return first_lines(error)
    chosen = [w for w, o in zip(words, overrides, strict=True) if str(o.key_or_group) in groups]
    chosen += of_search_path(words)
    known = _known_keys(chosen)
    for override in overrides:
        key = str(override.key_or_group)
        if key in groups or override.is_add() or override.is_force_add() or key.startswith("hydra"):
            continue
        if key not in known and key.rpartition(".")[0].endswith(".arguments"):
            return f"{key}: add it with a plus, +{key}=..., or give all arguments as one value, {{...}}"
        if key not in known and key in of_all():
            group, _, own = key.partition(".")
            added = group in SECTIONS and own in SECTIONS[group].others & shared(group).keys()
            more = f"; add it, +{override.input_line}" if added else ". All keys: python train.py --cfg job"
            return f"{key}: the {group} that is chosen has no such key{more}"
        if key not in known:
            return f"{key}: no such key{suggestion(key, [*known, *groups])} All keys: python train.py --cfg job"
        if f"merging override {override.input_line}" in str(error):
            shape = "mapping" if any(name.startswith(f"{key}.") for name in known) else "list or a single value"
            return f"{override.input_line}: it has to be a {shape}, as what stands there"
    reason = f": {first_lines(error.__cause__)}" if isinstance(error.__cause__, Exception) else ""
    return first_lines(error) + reason


def _known_keys(words: Sequence[str]) -> set[str]:
    """Every dotted key of the config, inner nodes included."""
    cfg: Any = OmegaConf.to_container(compose("train", overrides=list(words)), resolve=False)
    leaves = flatten(cfg)
    return {".".join(parts[:n]) for parts in (key.split(".") for key in leaves) for n in range(1, len(parts) + 1)}
