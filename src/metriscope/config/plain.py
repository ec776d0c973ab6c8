"""Configs as plain mappings: nested dictionaries and lists, or one flat mapping with dotted keys."""

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, f"{name}."))
        else:
            flat[name] = value
    return flat


def plain(cfg: DictConfig, resolve: bool = True) -> dict[str, Any]:
    """A config, or a section of one, as dictionaries and lists; with ``resolve``, every interpolation has its value."""
    container = OmegaConf.to_container(cfg, resolve=resolve)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}
