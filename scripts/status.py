"""How far a study is: finished, running, interrupted, failed and missing runs, with times.

python scripts/status.py outputs/default
python scripts/status.py outputs/default --only failed --only missing
"""

import argparse
import sys
from pathlib import Path

from metriscope.errors import InputError
from metriscope.sweeps.states import BROKEN, ORDER, counts, states_of, table


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="folder of the study, outputs/<study>")
    parser.add_argument("--only", choices=ORDER, action="append", help="list the runs of this status; repeatable")
    arguments = parser.parse_args()
    try:
        states = states_of(arguments.study)
    except InputError as error:
        print(f"status: {error}", file=sys.stderr)
        return 2
    shown = [state for state in states if not arguments.only or state.status in arguments.only]
    if shown:
        print(table(shown, arguments.study))
    print(f"{arguments.study}: {counts(states)}")
    for state in states:
        if state.status == BROKEN:
            print(f"status: {state.folder}: {state.reason}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
