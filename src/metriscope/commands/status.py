"""How far a study is: finished, running, interrupted, failed and missing runs, with times.

metriscope status outputs/default
metriscope status outputs/contrastive_vs_triplet-tuned-laptop
metriscope status outputs/default --only failed --only missing
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from metriscope.commands.words import Parser, a_path
from metriscope.errors import Exit
from metriscope.escapes import shown
from metriscope.fair.standing import standing
from metriscope.run.fair import is_fair
from metriscope.run.record import BROKEN
from metriscope.sweeps.states import ORDER, counts, states_of, table


def main(words: Sequence[str]) -> int:
    """The exit code.

    Raises:
        InputError: no such study, or the files of a fair comparison were edited.
    """
    parser = Parser("metriscope status", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=a_path, help="folder of the study, outputs/<study>")
    parser.add_argument("--only", choices=ORDER, action="append", help="list the runs of this status; repeatable")
    arguments = parser.parse_args(words)
    # The folder of several comparisons holds one for each data set.
    below = sorted(path for path in arguments.study.glob("*") if is_fair(path))
    for study in below or [arguments.study]:
        _tell(study, arguments.only)
    return Exit.FINISHED


def _tell(study: Path, only: Sequence[str] | None) -> None:
    """Print the states of the runs of a study, or how far its search is."""
    if is_fair(study) and (line := standing(study)):
        print(shown(line))
        return
    states = states_of(study)
    listed = [state for state in states if not only or state.status in only]
    if listed:
        print(table(listed, study))
    print(f"{shown(str(study))}: {counts(states)}")
    for state in states:
        if state.status == BROKEN:
            print(shown(f"metriscope: {state.folder}: {state.reason}"), file=sys.stderr)
