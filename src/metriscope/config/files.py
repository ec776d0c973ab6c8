"""Where the shipped configs are, and what one choice of a group says. Imports no torch."""

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

_PACKAGE = Path(__file__).resolve().parents[1]
# A wheel holds them inside of the package; a checkout at its root.
CONFIG_DIR = next(path for path in (_PACKAGE / "configs", _PACKAGE.parents[1] / "configs") if path.is_dir())


def choices(group: str, config_dir: Path = CONFIG_DIR) -> list[str]:
    """Names of the choices of a group, in alphabetical order; none where there is no such group."""
    folder = config_dir / group
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.yaml"))


def section(group: str, name: str) -> DictConfig:
    """The keys that a choice puts below its group, as they stand in its file: nothing is resolved."""
    content = OmegaConf.load(CONFIG_DIR / group / f"{name}.yaml")
    assert isinstance(content, DictConfig)
    content.pop("defaults", None)
    # A file in the global package says the name of its group itself.
    own = content.get(group, content) if "_target_" not in content else content
    assert isinstance(own, DictConfig)
    return own


def targets(group: str) -> dict[str, str]:
    """Class name -> module, for every class that a shipped choice of a group names."""
    paths = [str(section(group, name)._target_) for name in choices(group) if "_target_" in section(group, name)]
    return {name: module for module, _, name in (path.rpartition(".") for path in paths)}
