"""Build a W&B report of a study: final figures, learning curves, variance, greediness, averaged over seeds.

metriscope wandb-report outputs/default --dry-run
metriscope wandb-report outputs/default --wandb entity/project
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from metriscope.commands.words import Parser
from metriscope.errors import Exit, InputError


def main(words: Sequence[str]) -> int:
    """The exit code.

    Raises:
        InputError: wrong input, or a report that W&B does not take.
    """
    parser = Parser(
        "metriscope wandb-report", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("study", type=Path, help="folder of the study: outputs/<study>; only its name matters")
    parser.add_argument("--wandb", metavar="ENTITY/PROJECT", help="where the runs are and the report goes")
    parser.add_argument("--by", default="loss.name", metavar="KEY", help="config key that lines and bars stand for")
    parser.add_argument("--dry-run", action="store_true", help="print the panels, without network")
    arguments = parser.parse_args(words)
    print(_report(arguments))
    return Exit.FINISHED


def _report(arguments: argparse.Namespace) -> str:
    from metriscope.reports.wandb.report import build_report, sections

    study = arguments.study.resolve().name
    if arguments.dry_run:
        lines = [f"report 'Comparison of {study}', runs of study {study} averaged by {arguments.by}"]
        for section in sections():
            lines.append(section.title)
            for panel in section.panels:
                over = "" if panel.kind == "bars" else f" over {panel.x}"
                lines.append(f"  {panel.kind:<8} {panel.y}{over}: {panel.title}")
        return "\n".join(lines)
    if not arguments.wandb:
        raise InputError("where to? give --wandb entity/project, or --dry-run to see the panels")
    report = build_report(arguments.wandb, study, arguments.by)
    from metriscope.tracking.connection import connect

    connect()
    try:
        return str(report.save().url)
    except Exception as error:
        raise InputError(f"W&B did not take the report: {' '.join(str(error).split())[:200]}") from error
