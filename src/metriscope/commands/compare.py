"""Compare the runs of a study: means with intervals, paired differences, tables and figures.

metriscope compare outputs/default
metriscope compare outputs/default --by loss.name,dataset.name --baseline loss.name=contrastive --figures
metriscope compare outputs/default --wandb entity/project
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from metriscope.commands.words import Parser, a_path
from metriscope.config.aliases import today
from metriscope.errors import Exit, InputError
from metriscope.escapes import shown
from metriscope.files import refuse_link
from metriscope.reports.study_figures import FIGURES
from metriscope.reports.table_formats import FORMATS, write_tables

if TYPE_CHECKING:
    from metriscope.reports.comparison import Comparison


def main(words: Sequence[str]) -> int:
    """The exit code.

    Raises:
        InputError: wrong input, or a folder that cannot be written.
    """
    arguments = _parser().parse_args(words)
    try:
        _compare(arguments)
    except OSError as error:
        raise InputError(f"cannot write {error.filename}: {error.strerror}; set --out") from error
    return Exit.FINISHED


def _compare(arguments: argparse.Namespace) -> None:
    from metriscope.reports.comparison import compare, select
    from metriscope.reports.report_folder import report_folder
    from metriscope.run.study import load_study

    folder: Path = arguments.study
    if arguments.wandb:
        from metriscope.reports.wandb.study import load_project

        study = load_project(arguments.wandb, folder.resolve().name)
    else:
        study = load_study(folder)
    if arguments.where:
        study = select(study, arguments.where)
    found = compare(study, arguments.by, arguments.metrics, arguments.baseline, arguments.over)
    _show(found)
    out = report_folder(folder, arguments.out)
    written = write_tables(found, out, arguments.format)
    drawn = []
    if arguments.figures or arguments.html or arguments.log_wandb:
        from metriscope.reports.study_figures import write_figures

        drawn = write_figures(found, out / "figures", arguments.figures or FIGURES)
        written += drawn
    if arguments.html:
        from metriscope.reports.page import write_page

        written.append(write_page(found, drawn, out / "comparison.html"))
    print(f"written: {shown(str(out))}/{{{', '.join(path.relative_to(out).as_posix() for path in written)}}}")
    if arguments.log_wandb:
        from metriscope.reports.wandb.comparison import log_comparison

        refuse_link(out / "wandb")
        print(log_comparison(found, drawn, out, arguments.wandb))


def _show(found: "Comparison") -> None:
    from rich.console import Console

    from metriscope.reports.tables import fitting, rich_table, tables

    for note in found.notes:
        print(f"note: {note}")
    runs = sum(len(group.runs) for group in found.grouping.groups)
    print(f"{found.study.name}: {runs} finished runs in {len(found.grouping.groups)} groups")
    # A file or a pipe has no width that a table would have to fit.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 10_000)
    for table in tables(found):
        for part in fitting(table, console.width):
            console.print(rich_table(part))


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _keys(text: str) -> list[str]:
    return [today(key) or key for key in _words(text)]


def _choice(what: str, names: Sequence[str]) -> Callable[[str], list[str]]:
    def read(text: str) -> list[str]:
        for word in _words(text):
            if word not in names:
                raise argparse.ArgumentTypeError(f"no {what} {word!r}; there are {', '.join(names)}")
        return _words(text)

    return read


def _values(text: str) -> dict[str, str]:
    pairs = [word.partition("=") for word in _words(text)]
    for key, between, value in pairs:
        if not (key and between and value):
            raise argparse.ArgumentTypeError(f"{text!r}: give key=value, or several with commas between")
    return {today(key) or key: value for key, _, value in pairs}


def _parser() -> argparse.ArgumentParser:
    parser = Parser("metriscope compare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    option = parser.add_argument
    option("study", type=a_path, help="folder of the study: outputs/<study>")
    keys = "config keys that make groups, such as loss.name,dataset.name; default: the few that tell runs apart"
    option("--by", type=_keys, default=[], metavar="KEYS", help=keys)
    option("--metrics", type=_words, default=[], metavar="KEYS", help="such as test/recall_at_1,train/loss")
    option("--baseline", type=_values, metavar="KEY=VALUE", help="group that the others are compared with")
    option("--where", type=_values, metavar="KEY=VALUE", help="compare only runs with these values")
    option("--over", default="seed", choices=["seed", "dataset.fold"], help="what repeats a run (default: seed)")
    option("--out", type=a_path, metavar="FOLDER", help="default: <study>/report")
    option(
        "--format",
        type=_choice("format", FORMATS),
        default=list(FORMATS),
        metavar="NAMES",
        help=f"of {','.join(FORMATS)}",
    )
    drawn = f"draw figures (PNG and SVG), all or some of {', '.join(FIGURES)}"
    option("--figures", type=_choice("figure", FIGURES), nargs="?", const=list(FIGURES), metavar="NAMES", help=drawn)
    option("--html", action="store_true", help="one page with tables and figures")
    option("--wandb", metavar="ENTITY/PROJECT", help="read the runs of the study from W&B")
    option("--log-wandb", action="store_true", help="log tables and figures as a W&B run of the study")
    return parser
