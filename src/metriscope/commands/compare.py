"""Compare the runs of a study: means with intervals, paired differences, tables and figures.

metriscope compare outputs/default
metriscope compare outputs/default --by loss.name,dataset.name --baseline loss.name=contrastive --figures
metriscope compare outputs/default --format tex --percent --digits 1 --columns loss.name,test/recall_at_1,test/map_at_r
metriscope compare outputs/default --reference mlrc
metriscope compare outputs/default --wandb entity/project
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from metriscope.commands.words import Parser, a_path
from metriscope.config.aliases import today
from metriscope.errors import Exit, InputError
from metriscope.escapes import shown
from metriscope.files import refuse_link
from metriscope.reports.projection import METHODS, check_method
from metriscope.reports.study_figures import FIGURES
from metriscope.reports.style import FORMATS as FIGURE_FORMATS
from metriscope.reports.table_formats import FORMATS, write_tables
from metriscope.reports.table_style import MOST_DIGITS, NAMES, SPREADS

if TYPE_CHECKING:
    from metriscope.reports.comparison import Comparison
    from metriscope.reports.tables import Table


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
    from metriscope.reports.references import at_hand, read_references, reference_tables
    from metriscope.reports.report_folder import report_folder
    from metriscope.reports.table_style import Style, Written
    from metriscope.reports.tables import tables
    from metriscope.run.study import load_study

    check_method(arguments.projection, "--projection")
    folder: Path = arguments.study
    if arguments.wandb:
        from metriscope.reports.wandb.study import load_project

        study = load_project(arguments.wandb, folder.resolve().name)
    else:
        study = load_study(folder)
    published = read_references(arguments.reference) if arguments.reference else []
    if arguments.where:
        study = select(study, arguments.where)
    style = Style(arguments.percent, arguments.digits, arguments.columns, arguments.names, arguments.spread)
    recorded = {metric for run in study.finished for metric in run.metrics}
    metrics = [*arguments.metrics, *(column for column in style.columns if column in recorded)]
    found = compare(study, arguments.by, metrics, arguments.baseline, arguments.over)
    _show(found, tables(found, style))
    if published:
        _print(reference_tables(published, at_hand(Written(found, style), [one.metric for one in published])))
    out = report_folder(folder, arguments.out)
    page = out / "comparison.html"
    # A page of an earlier call would be stale beside fresh tables.
    html = arguments.html or arguments.images or os.path.lexists(page)
    page.unlink(missing_ok=True)
    written = write_tables(found, out, arguments.format, style)
    drawn = []
    if arguments.figures or html or arguments.log_wandb:
        from metriscope.reports.study_figures import write_figures

        # Pages and W&B show no other format.
        formats = list(dict.fromkeys([*arguments.figures_format, *["png"] * (html or arguments.log_wandb)]))
        names = arguments.figures or FIGURES
        drawn = write_figures(found, out / "figures", names, formats, arguments.projection, style)
        written += drawn
    if html:
        from metriscope.reports.page import write_page

        written.append(
            write_page(found, drawn, page, trusted=arguments.images, style=style, method=arguments.projection)
        )
    print(f"written: {shown(str(out))}/{{{', '.join(path.relative_to(out).as_posix() for path in written)}}}")
    if arguments.log_wandb:
        from metriscope.reports.wandb.comparison import log_comparison

        refuse_link(out / "wandb")
        print(log_comparison(found, drawn, out, arguments.wandb))


def _show(found: "Comparison", tables: "Sequence[Table]") -> None:
    for note in found.notes:
        print(f"note: {note}")
    runs = sum(len(group.runs) for group in found.grouping.groups)
    print(f"{found.study.name}: {runs} finished runs in {len(found.grouping.groups)} groups")
    _print(tables)


def _print(tables: "Sequence[Table]") -> None:
    from rich.console import Console

    from metriscope.reports.tables import fitting, rich_table

    # A file or a pipe has no width that a table would have to fit.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 10_000)
    for table in tables:
        for part in fitting(table, console.width):
            console.print(rich_table(part))


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _keys(text: str) -> list[str]:
    return [today(key) or key for key in _words(text)]


def _choice(what: str, names: Sequence[str]) -> Callable[[str], list[str]]:
    def read(text: str) -> list[str]:
        for word in _words(text) or [""]:
            if word not in names:
                raise argparse.ArgumentTypeError(f"no {what} {word!r}; there are {', '.join(names)}")
        return _words(text)

    return read


def _digits(text: str) -> int:
    if not (text.isdecimal() and len(text) <= 2 and int(text) <= MOST_DIGITS):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0 to {MOST_DIGITS}")
    return int(text)


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
    columns = "columns of the tables: config keys (they come first), n, and metrics; default: all"
    option("--columns", type=_keys, default=[], metavar="NAMES", help=columns)
    option("--percent", action="store_true", help="shares, such as Recall@1, in per cent")
    digits = "decimals of every figure; default: four digits, and in CSV all"
    option("--digits", type=_digits, metavar="N", help=digits)
    names = "titles as papers write them, or keys as a command line does; default: titles, and in CSV keys"
    option("--names", choices=NAMES, help=names)
    spread = "what stands beside a mean: half of its 95 %% interval, its standard deviation, or both; "
    spread += "default: both, and in LaTeX the interval"
    option("--spread", choices=SPREADS, help=spread)
    option("--over", default="seed", choices=["seed", "dataset.fold"], help="what repeats a run (default: seed)")
    option("--out", type=a_path, metavar="FOLDER", help="default: <study>/report")
    option(
        "--format",
        type=_choice("format", FORMATS),
        default=list(FORMATS),
        metavar="NAMES",
        help=f"of {','.join(FORMATS)}",
    )
    drawn = f"draw figures, all or some of {', '.join(FIGURES)}"
    option("--figures", type=_choice("figure", FIGURES), nargs="?", const=list(FIGURES), metavar="NAMES", help=drawn)
    option(
        "--figures-format",
        type=_choice("format of figures", FIGURE_FORMATS),
        default=["png", "svg"],
        metavar="NAMES",
        help=f"of {','.join(FIGURE_FORMATS)} (default: png,svg)",
    )
    projected = "of embeddings: pca (default), tsne or umap, which see 2,000 points of each group and take some seconds"
    option("--projection", choices=METHODS, default="pca", metavar="NAME", help=projected)
    reference = "print published figures beside those of the study: mlrc, or a CSV file of your own"
    option("--reference", default="", metavar="NAME", help=reference)
    option("--html", action="store_true", help="one page: what was run, runs, tables, charts, pictures")
    images = "the page with test images of data outside of data/ too, read from where the runs' configs say: for runs "
    option("--images", action="store_true", help=f"{images}that you trust")
    option("--wandb", metavar="ENTITY/PROJECT", help="read the runs of the study from W&B")
    option("--log-wandb", action="store_true", help="log tables and figures as a W&B run of the study")
    return parser
