"""From words of a command line to a config; a word that does not fit is answered with the nearest that would."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf

from metriscope.config.files import CONFIG_DIR, choices
from metriscope.config.hydra import apply_overrides
from metriscope.config.plain import flatten
from metriscope.errors import InputError, nearest


@cache
def parse(word: str) -> Override:
    """One word of the command line as Hydra reads it.

    Raises:
        InputError: it cannot be read.
    """
    try:
        override: Override = OverridesParser.create().parse_override(word)
    except HydraException as error:
        hint = "a value with unusual characters needs quotes of its own, as in \"dataset.path='Übung 1'\""
        raise InputError(f"cannot read '{word}': {_first_lines(error)}; {hint}") from error
    return override


def compose_config(words: Sequence[str], config_dir: str | None = None, with_hydra: bool = False) -> DictConfig:
    """The config that Hydra composes from these overrides, also for tests and scripts.

    Args:
        words: overrides, as on the command line.
        config_dir: a folder of further choices.
        with_hydra: whether Hydra's own settings are left in it, below ``hydra``.

    Raises:
        InputError: an unknown choice or key, with the nearest match.
    """
    own = [f"hydra.searchpath=[file://{Path(config_dir).resolve()}]"] if config_dir else []
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        try:
            return compose("train", overrides=[*words, *own], return_hydra_config=with_hydra)
        except (HydraException, ValueError) as error:
            raise InputError(_explain(error, words, config_dir)) from error


class Composer:
    """Composes many configs that differ little: choices of parts that come together are read once.

    Args:
        config_dir: a folder of further choices.
    """

    def __init__(self, config_dir: str | None = None) -> None:
        self._config_dir = config_dir
        self._groups = _groups(CONFIG_DIR) | (_groups(Path(config_dir)) if config_dir else set())
        self._chosen: dict[tuple[str, ...], DictConfig] = {}

    def __call__(self, words: Sequence[str]) -> DictConfig:
        """As :func:`compose_config`."""
        overrides = [(word, parse(word)) for word in words]
        parts = tuple(word for word, o in overrides if str(o.key_or_group) in self._groups or o.package)
        values = [o for word, o in overrides if word not in parts]
        try:
            if parts not in self._chosen:
                self._chosen[parts] = compose_config(parts, self._config_dir)
            cfg = self._chosen[parts].copy()
            apply_overrides(values, cfg)
            return cfg
        except (HydraException, InputError):
            return compose_config(words, self._config_dir)  # its refusal sees all words


def _groups(config_dir: Path) -> set[str]:
    return {path.relative_to(config_dir).as_posix() for path in config_dir.rglob("*") if path.is_dir()}


def _explain(error: Exception, words: Sequence[str], config_dir: str | None) -> str:
    """One line for a config that does not compose."""
    overrides = [parse(word) for word in words]
    groups = _groups(CONFIG_DIR)
    for override in overrides:
        key, value = str(override.key_or_group), override.value()
        if key not in groups or isinstance(value, list):
            continue
        there = [*choices(key), *(choices(key, Path(config_dir)) if config_dir else [])]
        if value not in there:
            return f"{key}={value}: no such choice{nearest(str(value), there)} There are: {', '.join(there)}"
    if isinstance(error, MissingConfigException):
        return _first_lines(error)
    chosen = [w for w, o in zip(words, overrides, strict=True) if str(o.key_or_group) in groups]
    known = _known_keys(chosen)
    for override in overrides:
        key = str(override.key_or_group)
        if key in groups or override.is_add() or override.is_force_add() or key.startswith("hydra"):
            continue
        if key not in known:
            return f"{key}: no such key{nearest(key, [*known, *groups])} All keys: python train.py --cfg job"
    return _first_lines(error)


def _known_keys(words: Sequence[str]) -> set[str]:
    """Every dotted key of the config, inner nodes included."""
    cfg: Any = OmegaConf.to_container(compose("train", overrides=list(words)), resolve=False)
    leaves = flatten(cfg)
    return {".".join(parts[:n]) for parts in (key.split(".") for key in leaves) for n in range(1, len(parts) + 1)}


def _first_lines(error: Exception) -> str:
    return " ".join(line.strip() for line in str(error).splitlines() if line.strip())[:300]
