"""Where the shipped configs are, and what one choice of a group says. Imports no torch."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from metriscope.errors import InputError

_PACKAGE = Path(__file__).resolve().parents[1]
# A wheel holds them inside of the package; a checkout at its root.
CONFIG_DIR = next(path for path in (_PACKAGE / "configs", _PACKAGE.parents[1] / "configs") if path.is_dir())


SPACE = "_search_"
"""Key of a part's file that says what a search may vary; no argument of the part, and in no composed config."""
SEARCHED = ("loss", "miner", "weighting", "references", "mixture")
"""Groups whose files may have that key."""
TITLED = ("loss", "dataset")
"""Groups whose choices begin with the name that papers use."""


def choices(group: str, config_dir: Path = CONFIG_DIR) -> list[str]:
    """Names of the choices of a group, in alphabetical order; none where there is no such group."""
    folder = config_dir / group
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.yaml"))


def all_choices(group: str, further: Sequence[Path]) -> list[str]:
    """Names of the choices of a group, the shipped ones and those of further folders, in alphabetical order."""
    return sorted({name for root in (CONFIG_DIR, *further) for name in choices(group, root)})


def check_once(group: str, name: str, further: Sequence[Path]) -> None:
    """Refuse a choice that is in two folders: which of them is meant, nobody can see.

    Raises:
        InputError: naming both files.
    """
    roots = dict.fromkeys(root.resolve() for root in (CONFIG_DIR, *further))
    files = [path for root in roots if (path := root / group / f"{name}.yaml").is_file()]
    if len(files) > 1:
        raise InputError(f"{group}={name} is in two places, {files[0]} and {files[1]}: rename one of the two files")


def section(group: str, name: str, config_dir: Path = CONFIG_DIR) -> DictConfig:
    """The keys that a choice puts below its group, as they stand in its file: nothing is resolved.

    Choices of the same group that the file builds on come first. What a search may vary is left out.
    """
    own = _whole(group, name, config_dir)
    own.pop(SPACE, None)
    return own


def space(group: str, name: str, config_dir: Path = CONFIG_DIR) -> dict[str, str] | None:
    """What a search may vary of a choice: key -> range, as a command line writes it; None where its file does not say.

    >>> space("loss", "triplet")
    {'margin': 'interval(0.02,1.0)'}
    """
    own = _whole(group, name, config_dir)
    return {str(key): str(value) for key, value in own[SPACE].items()} if SPACE in own else None


def _whole(group: str, name: str, config_dir: Path) -> DictConfig:
    path = config_dir / group / f"{name}.yaml"
    content = OmegaConf.load(path if path.is_file() else CONFIG_DIR / group / f"{name}.yaml")
    assert isinstance(content, DictConfig)
    below = [
        str(other) for other in content.pop("defaults", None) or () if isinstance(other, str) and other != "_self_"
    ]
    # A file in the global package says the name of its group itself.
    own = content.get(group, content) if "_target_" not in content else content
    for other in reversed(below):
        own = OmegaConf.merge(_whole(group, other, config_dir), own)
    assert isinstance(own, DictConfig)
    return own


def summary(group: str, name: str, config_dir: Path = CONFIG_DIR) -> str:
    """What a choice is, in one line: the first comment of its file."""
    lines = (config_dir / group / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    comments = (line[1:].strip() for line in lines if line.startswith("#") and "@package" not in line)
    return next(comments, "")


@cache
def title(group: str, name: str) -> str:
    """What papers call a shipped loss or data set: the first words of its file, up to a colon; other names as they are.

    >>> title("loss", "multi_similarity")
    'Multi-Similarity'
    """
    found = group in TITLED and name in choices(group)
    return summary(group, name).partition(": ")[0] if found else name


def default(group: str) -> str:
    """The choice of a group where a command line names none."""
    chosen = OmegaConf.load(CONFIG_DIR / "train.yaml").defaults
    return next(str(entry[group]) for entry in chosen if isinstance(entry, DictConfig) and group in entry)


def targets(group: str) -> dict[str, str]:
    """Class name -> module, for every class that a shipped choice of a group names."""
    paths = [str(section(group, name)._target_) for name in choices(group) if "_target_" in section(group, name)]
    return {name: module for module, _, name in (path.rpartition(".") for path in paths)}
