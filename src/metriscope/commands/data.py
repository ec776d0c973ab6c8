"""Fetch, unpack and verify data sets ahead of their runs: what dataset.download=true does at the start of one.

metriscope data cub --download
metriscope data cars196 sop --decode
metriscope data audit dataset=folder dataset.path=photos

Says what was found, or what is missing and how to get it. Exit codes: 0 all is there, 2 something is not. With audit,
looks for copies, contradictions and leaks in any data set: metriscope data audit --help.
"""

import argparse
import importlib
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metriscope.commands.words import Parser
from metriscope.config.files import choices, section
from metriscope.errors import Exit, InputError

if TYPE_CHECKING:
    from metriscope.data.examples import Source

_BROKEN_SHOWN = 20


def main(words: Sequence[str]) -> int:
    """The exit code."""
    if words[:1] == ["audit"]:
        from metriscope.commands.data_audit import main as audit

        return audit(words[1:])
    arguments = _parser().parse_args(words)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    worst = Exit.FINISHED
    for name in arguments.names:
        try:
            print(f"{name}: {prepare(name, arguments.data_dir, arguments.download, arguments.decode)}", flush=True)
        except InputError as error:
            print(f"{name}: {error}", file=sys.stderr)
            worst = Exit.WRONG_INPUT
        except KeyboardInterrupt:
            print(f"{name}: interrupted; the same command goes on where it stopped", file=sys.stderr)
            return Exit.INTERRUPTED
    return worst


def prepare(name: str, data_dir: Path, download: bool = False, decode: bool = False) -> str:
    """What there is of a data set, in words.

    Raises:
        InputError: it is incomplete or cannot be had, or, with ``decode``, has images that cannot be read.
    """
    config = section("dataset", name)
    module = importlib.import_module(config._target_.rpartition(".")[0])
    if hasattr(module, "find"):
        from metriscope.data.files.completeness import counts

        listing = module.find(data_dir, download)
        if decode:
            _decode([path for part in listing.parts.values() for path in part.paths])
        found = ", ".join(f"{number} {what}" for what, number in counts(listing).items())
        return f"complete, {found}" + (", all of them readable" if decode else "")
    variant: dict[str, Any] = {"variant": config.variant} if "variant" in config else {}
    source: Source = module.load(str(data_dir), download=download, **variant)
    assert source.test is not None
    return f"complete, {len(source.train)} train images, {len(source.test)} test images"


def _decode(paths: list[str]) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from rich.progress import track

    from metriscope.data.inputs.decoding import decode
    from metriscope.terminal import is_interactive

    def fault(path: str) -> str | None:
        try:
            decode(path)
        except InputError as error:
            return str(error)
        return None

    with ThreadPoolExecutor() as pool:
        results = track(pool.map(fault, paths), "decoding", len(paths), disable=not is_interactive(), transient=True)
        broken = [line for line in results if line]
    for line in broken[:_BROKEN_SHOWN]:
        print(line, file=sys.stderr)
    if broken:
        more = f" (the first {_BROKEN_SHOWN} are named above)" if len(broken) > _BROKEN_SHOWN else ""
        raise InputError(f"{len(broken)} of {len(paths)} images cannot be read{more}")


def _parser() -> argparse.ArgumentParser:
    names = [name for name in choices("dataset") if "data_dir" in section("dataset", name)]
    parser = Parser("metriscope data", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", choices=names, metavar="name", help=", ".join(names))
    parser.add_argument("--data-dir", type=Path, default=Path("data"), help="as paths.data_dir (default: data)")
    parser.add_argument("--download", action="store_true", help="fetch what is not there, unpack what is")
    parser.add_argument("--decode", action="store_true", help="read every image, and name those that are broken")
    return parser
