"""Damaged ``config.yaml`` files. A finished run needs its config for comparisons only."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from hostile.kinds import CONTROL, MARKUP, Kind, Traps, absent, of_every_sort, text

FILE = "config.yaml"
_NAMES = "bcdefghijkl"
_BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in zip("a" + _NAMES, _NAMES, strict=False)
)
_MERGES = "a: &a {x: 1, y: 2}\n" + "".join(
    f"{new}: &{new} {{<<: [{', '.join([f'*{old}'] * 10)}]}}\n" for old, new in zip("a" + _NAMES, _NAMES, strict=False)
)


def more(content: str) -> Callable[[Path, Traps], Any]:
    """Further lines at the end of the config."""

    def make(folder: Path, traps: Traps) -> None:
        with (folder / FILE).open("a") as file:
            file.write(content)

    return make


def other(**changes: Any) -> Callable[[Path, Traps], Any]:
    """Other sections; two underscores stand for a dot."""

    def make(folder: Path, traps: Traps) -> None:
        config = yaml.safe_load((folder / FILE).read_text())
        for key, value in changes.items():
            *path, last = key.split("__")
            node = config
            for part in path:
                node = node[part]
            node[last] = value
        (folder / FILE).write_text(yaml.safe_dump(config, sort_keys=False))

    return make


def _executing(folder: Path, traps: Traps) -> None:
    more(f"evil: !!python/object/apply:builtins.open ['{traps.executed}', w]\n")(folder, traps)


KINDS = {
    "no config.yaml": Kind(absent(FILE)),
    **of_every_sort(FILE),
    "config.yaml is empty": Kind(text(FILE, "")),
    "config.yaml is cut off": Kind(text(FILE, "seed: 1\nloss:\n  name: [trip")),
    "config.yaml is a list": Kind(text(FILE, "- seed\n")),
    "config.yaml has no seed": Kind(text(FILE, "loss: {name: triplet}\n")),
    "a bomb of aliases": Kind(more(_BOMB)),
    "a bomb of merge keys": Kind(more(_MERGES)),
    "an alias to itself": Kind(more("own: &own [*own]\n")),
    "config.yaml of 200,000 brackets": Kind(more("own: " + "[" * 200_000)),
    "config.yaml of 200,000 dashes": Kind(more("own:\n " + "- " * 100_000)),
    "config.yaml of 60,000 sections": Kind(more("".join(f"k{i}:\n" for i in range(60_000)))),
    "a tag that executes": Kind(_executing),
    "a number of 400 digits": Kind(more(f"own: 1{'0' * 400}\n")),
    "a date": Kind(more("own: 2026-01-01\n")),
    "a set": Kind(more("own: !!set {a, b}\n")),
    "a key that is a list": Kind(more("? [a, b]\n: c\n")),
    "keys of several types": Kind(more("own: [{1: a, b: c, null: d, true: e}]\n"), compared=True),
    "sections that are text": Kind(other(dataset="x", loss=[1, 2], evaluation=None), compared=True),
    "losses of a sum that are none": Kind(other(loss__losses=[{"name": "triplet", "arguments": 3}, None, CONTROL])),
    "a home of nobody": Kind(other(dataset__path="~nobody-of-this-name/x")),
    "a path with a NUL": Kind(other(dataset__path="a\x00b", backbone__weights="c\x00d.pth"), compared=True),
    "metrics that are none": Kind(other(evaluation__metrics=[CONTROL], diagnostics=CONTROL), compared=True),
    "names of markup": Kind(other(loss__name=MARKUP, dataset__name=MARKUP + CONTROL), compared=True),
    "names of control characters": Kind(other(loss__name=CONTROL, tags=[CONTROL]), compared=True),
    "a name that is a formula": Kind(other(loss__name="=cmd|'/c calc'!A0", miner__name="@SUM(1)"), compared=True),
    "a name of half a line": Kind(other(loss__name="_a$b"), compared=True),
    "keys of markup": Kind(other(loss__margin={MARKUP: CONTROL, CONTROL: MARKUP, "": 1, "=1+1": 2}), compared=True),
    "a name of 100,000 letters": Kind(other(loss__name="x$" * 50_000), compared=True),
    "a seed that is text": Kind(other(seed=MARKUP), compared=True),
    "a class of markup": Kind(other(loss__name=None, loss___target_=f"os.system.{MARKUP}"), compared=True),
}
