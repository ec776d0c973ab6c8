"""Look at a data set before anybody trains on it: copies, contradictions, leaks, broken images, the best Recall@1.

metriscope data audit dataset=folder dataset.path=photos
metriscope data audit dataset=cars196 dataset.fold=1 --html cars.html --json cars.json
metriscope data audit dataset=csv dataset.path=list.csv --near 0 --strict

Words are those of metriscope train, flags stand anywhere. Identical images have the same pixels once they are decoded.
Near duplicates have signatures (means of brightness on a grid of 16 x 16, of colours on 8 x 8, without mean brightness
and contrast) at a distance of at most --near: the root of 1 - r, where r is the correlation of two images. A copy that
was encoded anew, scaled or brightened lies below 0.1, one that lost a fiftieth of its margin at 0.1 to 0.2, unrelated
photographs at about 1. Vectors are compared by their distance, in units of that of two unrelated ones.

Exit codes: 0 the audit is done, 1 with --strict and something serious found, 2 wrong input.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from metriscope import environment
from metriscope.commands.words import Parser
from metriscope.config.compose import compose_config
from metriscope.config.plain import plain
from metriscope.config.words import parse
from metriscope.errors import Exit, InputError

if TYPE_CHECKING:
    from metriscope.data.audit.audit import Audit


def main(words: Sequence[str]) -> int:
    """The exit code.

    Raises:
        InputError: a wrong word or flag, data that are missing, or a file that cannot be written.
    """
    environment.prepare()
    arguments = parser().parse_intermixed_args(words)
    for path in (arguments.html, arguments.json, arguments.csv):
        if path is not None and not path.parent.is_dir():
            raise InputError(f"{path}: there is no folder {path.parent}")
    for word in arguments.words:
        if parse(word).is_sweep_override():
            raise InputError(f"{word} gives several values: an audit looks at one data set")
    config = plain(compose_config(arguments.words, arguments.config_dir).dataset)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    from metriscope.data.audit.audit import NEAR, audit
    from metriscope.data.audit.findings import SERIOUS, findings
    from metriscope.data.loading import load_splits

    # Two labels of one image contradict each other only where they are of one set.
    one_set = {**config, "train_labels": config.get("test_labels")}
    found = audit(load_splits(one_set), NEAR if arguments.near is None else arguments.near)
    _show(found)
    try:
        _write(found, arguments, str(config["name"]))
    except OSError as error:
        raise InputError(f"cannot write {error.filename}: {error.strerror}") from error
    serious = any(one.kind in SERIOUS for one in findings(found))
    return Exit.RUN_FAILED if arguments.strict and serious else Exit.FINISHED


def _show(found: "Audit") -> None:
    from rich.console import Console

    from metriscope.reports.audit_tables import listing, table
    from metriscope.reports.tables import fitting, rich_table

    # A file or a pipe has no width that a table would have to fit.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 10_000)
    for part in fitting(table(found), console.width):
        console.print(rich_table(part))
    for line in listing(found):
        print(line)


def _write(found: "Audit", arguments: argparse.Namespace, dataset: str) -> None:
    from metriscope.reports.audit_files import write_audit_csv, write_audit_json
    from metriscope.reports.audit_page import write_audit_page

    if arguments.html:
        write_audit_page(found, arguments.html, dataset)
    if arguments.json:
        write_audit_json(found, arguments.json, dataset)
    if arguments.csv:
        write_audit_csv(found, arguments.csv)


def _distance(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text}: a distance from 0 (none are looked for) to below 1")
    return value


def parser() -> argparse.ArgumentParser:
    """The parser of the command's words."""
    found = Parser("metriscope data audit", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    option = found.add_argument
    option("words", nargs="*", metavar="key=value", help="as for metriscope train: dataset=..., dataset.protocol=...")
    option("--near", type=_distance, metavar="DISTANCE", help="of near duplicates, 0 to look for none (default: 0.15)")
    option("--html", type=Path, metavar="FILE", help="one page with pictures of what was found")
    option("--json", type=Path, metavar="FILE", help="counts, ceilings and all findings")
    option("--csv", type=Path, metavar="FILE", help="all findings, one example a row")
    serious = "conflicts, leaks (also of near duplicates) or unreadable images"
    option("--strict", action="store_true", help=f"exit with 1 where there are {serious}")
    option("--config-dir", metavar="FOLDER", help="further choices, as for metriscope train")
    return found
