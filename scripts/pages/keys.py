"""Pages of the config: every choice of every group, and every key with its default and what it may be."""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import yaml

from metriscope.annotations import allows_null, said, wanted
from metriscope.config.defaults import groups, of_all
from metriscope.config.files import CONFIG_DIR, choices, default, section, summary
from metriscope.config.keys import CHOICES, RANGES, expected
from metriscope.config.plain import flatten, plain
from metriscope.errors import InputError
from metriscope.parts import arguments_of, locate

# Beside the groups whose keys stand below the group's own name.
FURTHER = ("hydra/launcher", "experiment")
TOP = """# Every key

A key is set on the command line, as in `metriscope train seed=1 head.size=64`; `metriscope train --cfg job` prints the
config that a command composes. A group is a folder of choices: `loss=triplet` takes the keys of one, and
`loss.margin=0.1` changes a key. These pages are made from `configs/` and from the annotations of the parts.

## Groups

{groups}

## Keys outside of groups

| key | default | what it may be | about |
| --- | --- | --- | --- |
{keys}
"""


def pages() -> dict[str, str]:
    """The page of all keys, and one for each group, by the path in the site."""
    names = [*groups(), *FURTHER]
    found = {f"reference/keys/{slug(group)}.md": _group(group) for group in names}
    listed = "\n".join(
        f"- [`{group}`](keys/{slug(group)}.md): {', '.join(map(_code, choices(group)))}" for group in names
    )
    content = _content("train")
    own = {key: value for key, value in content.items() if key not in ("defaults", "hydra")}
    about = comments(_text("train"))
    rows = (_row(key, value, _may_be(key, key, value, None), about.get(key, "")) for key, value in flatten(own).items())
    return {"reference/keys.md": TOP.format(groups=listed, keys="\n".join(rows)), **found}


def slug(group: str) -> str:
    """The name of a group's page."""
    return group.replace("/", "_")


def comments(text: str) -> dict[str, str]:
    """Dotted key -> the comment behind it in a YAML file, or else the lines of comment above it."""
    found: dict[str, str] = {}
    above: list[str] = []
    path: list[tuple[int, str]] = []
    for line in text.splitlines():
        bare = line.strip()
        if bare.startswith("#"):
            above.append(bare.lstrip("# "))
        elif key := re.match(r"(\s*)([\w.]+):(?:\s|$)", line):
            path = [place for place in path if place[0] < len(key[1])] + [(len(key[1]), key[2])]
            behind = re.search(r"\s#\s(.*)$", line)
            found[".".join(name for _, name in path)] = behind[1] if behind else " ".join(above)
            above = []
        else:
            above = []
    return {key: words for key, words in found.items() if words}


def _group(group: str) -> str:
    lines = [f"# {group}", ""]
    if group in groups() and _in_defaults(group):
        lines += [f"Where a command names none: `{group}={default(group)}`.", ""]
    for name in choices(group):
        lines += _choice(group, name)
    return "\n".join(lines) + "\n"


def _in_defaults(group: str) -> bool:
    entries = _content("train")["defaults"]
    return any(isinstance(entry, dict) and entry.get(group) is not None for entry in entries)


def _choice(group: str, name: str) -> Iterator[str]:
    values = plain(section(group, name), resolve=False)
    part = _part(values)
    yield from (f"## {name}", "", summary(group, name), "")
    if part is not None:
        yield from (f"`{values['_target_']}`", "")
        if described := _described(part):
            yield from (described, "")
    if paper := getattr(part, "paper", None):
        yield from (f"Source: {paper}.", "")
    if brings := _companions(group, name):
        yield from (f"It brings {', '.join(map(_code, brings))}, unless the command says otherwise.", "")
    prefix = "" if group == "experiment" else f"{group.replace('/', '.')}."
    about = _arguments(part) | _comments_of(group, name)
    rows = [
        _row(prefix + key, value, _may_be(prefix + key, key, value, part), about.get(key, ""))
        for key, value in flatten(values).items()
        if key.rpartition(".")[2] != "_target_" and (key != "name" or value == "???")
    ]
    if rows:
        yield from ("| key | default | what it may be | about |", "| --- | --- | --- | --- |", *rows, "")


def _comments_of(group: str, name: str) -> dict[str, str]:
    """The comments of a choice's keys, those of the choices that it builds on included."""
    below = _content(f"{group}/{name}").get("defaults") or ()
    found: dict[str, str] = {}
    for other in below:
        if isinstance(other, str) and other != "_self_":
            found |= _comments_of(group, other)
    return found | {key.removeprefix(f"{group}."): words for key, words in comments(_text(f"{group}/{name}")).items()}


def _companions(group: str, name: str) -> list[str]:
    """What a choice says of other groups, as words of a command."""
    if "@package _global_" not in _text(f"{group}/{name}"):
        return []
    content = _content(f"{group}/{name}")
    chosen = [entry for entry in content.get("defaults") or () if isinstance(entry, dict)]
    words = [f"{key.removeprefix('override /')}={value}" for entry in chosen for key, value in entry.items()]
    if group == "experiment":
        return words
    others = {key: value for key, value in content.items() if key not in (group, "defaults")}
    return words + [f"{key}={said(value)}" for key, value in flatten(others).items()]


def _text(path: str) -> str:
    return (CONFIG_DIR / f"{path}.yaml").read_text(encoding="utf-8")


@cache
def _content(path: str) -> Mapping[str, Any]:
    """What a file below configs/ says, as it stands there."""
    return yaml.load(_text(path), getattr(yaml, "CSafeLoader", yaml.SafeLoader)) or {}


def _part(values: Mapping[str, Any]) -> Callable[..., Any] | None:
    """The class or function of a choice; None where there is none, or where it needs a package that is not there."""
    try:
        part: Callable[..., Any] | None = locate(str(values["_target_"])) if "_target_" in values else None
    except InputError:
        return None
    return part


def _described(part: Callable[..., Any]) -> str:
    """The docstring of a shipped part, without its arguments."""
    if not part.__module__.startswith("metriscope."):
        return ""
    text = vars(part).get("__doc__") or ""
    return re.split(r"\n(?:Args|Returns|Raises|Attributes|Example):|\n>>> ", inspect.cleandoc(text))[0].strip()


def _arguments(part: Callable[..., Any] | None) -> dict[str, str]:
    """What the docstring of a part says of each argument."""
    found: dict[str, str] = {}
    _, _, below = inspect.cleandoc(getattr(part, "__doc__", None) or "").partition("\nArgs:\n")
    for names, words in re.findall(r"(?m)^ {4}([\w, ]+): (.*(?:\n {8}.*)*)", below.split("\n\n")[0]):
        found |= dict.fromkeys(names.split(", "), " ".join(words.split()))
    return found


def _may_be(full: str, key: str, value: Any, part: Callable[..., Any] | None) -> str:
    """What a key may be, in words: by the rule of the key, by the annotation of the argument, or by its defaults."""
    hint = arguments_of(part).get(key, Any) if part is not None else Any
    words = expected(full)
    if hint is not Any and full not in RANGES and full not in CHOICES:
        words = wanted(hint).removesuffix(", or null")
    null = value is None or None in of_all().get(full, ()) or (hint is not Any and allows_null(hint))
    return words + (", or null" if null and words else "")


def _row(key: str, value: Any, may_be: str, about: str) -> str:
    cells = (f"`{key}`", _code(said(value)), may_be, about)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _code(text: str) -> str:
    return f"`{text}`" if text else ""
