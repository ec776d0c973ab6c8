"""How far a study is: finished, running, interrupted, failed and missing runs, with times.

metriscope status outputs/default
metriscope status outputs/default --only failed --only missing
"""

import argparse
import sys
from collections.abc import Sequence

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
    if is_fair(arguments.study) and (line := standing(arguments.study)):
        print(shown(line))
        return Exit.FINISHED
    states = states_of(arguments.study)
    listed = [state for state in states if not arguments.only or state.status in arguments.only]
    if listed:
        print(table(listed, arguments.study))
    print(f"{shown(str(arguments.study))}: {counts(states)}")
    for state in states:
        if state.status == BROKEN:
            print(shown(f"metriscope: {state.folder}: {state.reason}"), file=sys.stderr)
    return Exit.FINISHED
