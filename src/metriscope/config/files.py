"""Where the shipped configs are, and what one choice of a group says. Imports no torch."""

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

CONFIG_DIR = Path(__file__).resolve().parents[3] / "configs"


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
