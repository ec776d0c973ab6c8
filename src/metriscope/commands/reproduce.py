"""Run an experiment as far as the data at hand allows, and write its tables, figures and verdicts.

metriscope reproduce contrastive_vs_triplet scale=laptop hydra/launcher=joblib
metriscope reproduce contrastive_vs_triplet scale=laptop tuned=true trials=10 folds=3 repeats=5

Words after its name go to every run, as on the command line of metriscope train; five seeds are the default.
Finished runs are not repeated, so the same command goes on after an interruption.

tuned=true decides the claims on tuned losses, beside the verdicts on default settings: a comparison as of metriscope
fair of each data set, with its words trials=10 folds=3 repeats=5 search=tpe prune=0.1 seed=0 workers=N.
"""

import argparse
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from metriscope.commands import tuned
from metriscope.commands.words import Parser
from metriscope.errors import Exit, InputError
from metriscope.signals import answered_by

if TYPE_CHECKING:
    from metriscope.reports.experiments import Experiment

# What no experiment leaves open, beside what it sweeps.
_OWN = {"dataset", "loss", "experiment", "study"}


def main(words: Sequence[str]) -> int:
    """The exit code.

    Raises:
        InputError: wrong input, or a folder that cannot be written.
        KeyboardInterrupt: a signal stopped it.
    """
    arguments = _parser().parse_intermixed_args(words)
    try:
        return _reproduce(arguments)
    except OSError as error:
        raise InputError(f"cannot write {error.filename}: {error.strerror}; set --out") from error


def _parser() -> argparse.ArgumentParser:
    from metriscope.reports.experiments import EXPERIMENTS

    parser = Parser("metriscope reproduce", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", choices=EXPERIMENTS)
    parser.add_argument("words", nargs="*", metavar="word", help="scale=full|laptop, tuned=true, key=value")
    parser.add_argument("--report-only", action="store_true", help="train nothing; report on the runs that are there")
    parser.add_argument("--out", type=Path, help="where tables, figures and verdicts go (default: <study>/report)")
    return parser


def _reproduce(arguments: argparse.Namespace) -> int:
    from metriscope.config.compose import compose_config
    from metriscope.config.words import parse
    from metriscope.reports.experiments import EXPERIMENTS
    from metriscope.reports.report_folder import report_folder
    from metriscope.reports.reproduction import write_reproduction
    from metriscope.run.study import load_study

    experiment = EXPERIMENTS[arguments.experiment]
    if tuned.is_asked(arguments.words):
        return tuned.reproduce(arguments.experiment, arguments.words, arguments.report_only, arguments.out)
    given = {str(parse(word).key_or_group) for word in arguments.words}
    if own := sorted(given & (_OWN | experiment.swept.keys())):
        raise InputError(f"{own[0]} is the experiment's own: leave it out; data sets that are at hand are found")
    words = [f"experiment={experiment.config}", *arguments.words, *(() if "seed" in given else ("seed=range(5)",))]
    for_all = [word for word in words if not (parse(word).is_sweep_override() or parse(word).is_hydra_override())]
    cfg = compose_config(for_all)
    study = f"{cfg.study}-{cfg.scale.name}"
    sweeps, missing = plan(experiment, Path(cfg.paths.data_dir), cfg.scale.name == "laptop")
    for line in missing:
        print(f"reproduce: {line}")
    # The command line wins over what a data set recommends.
    kept = [[word for word in sweep if str(parse(word).key_or_group) not in given] for sweep in sweeps]
    codes = [] if arguments.report_only else [_train([*words, *sweep, f"study={study}"]) for sweep in kept]
    folder = Path(cfg.paths.output_dir) / study
    found = load_study(folder)
    out = report_folder(folder, arguments.out)
    # Where things are is of no use to a reader.
    told = [word for word in arguments.words if not word.startswith("paths.")]
    spoken = shlex.join(["metriscope", "reproduce", arguments.experiment, *told])
    for judgement in write_reproduction(found, experiment, out, spoken, missing):
        print(f"claim {judgement.claim.number}: {judgement.verdict}: {judgement.claim.text}")
    print(f"report: {out / 'README.md'}")
    return Exit.RUN_FAILED if any(codes) else Exit.FINISHED


def plan(experiment: "Experiment", data_dir: Path, laptop: bool) -> tuple[list[list[str]], list[str]]:
    """The words of sweeps for all data sets that take the same ones, and a line for each that is not at hand."""
    together: dict[tuple[str, ...], list[str]] = {}
    missing = []
    for data in experiment.data:
        choice = data.at_hand(data_dir)
        if choice is None:
            missing.append(data.missing)
        else:
            together.setdefault(data.overrides(laptop), []).append(choice)
    sweeps = [[f"{key}={','.join(values)}" for key, values in sweep.items()] for sweep in experiment.sweeps]
    return [
        [*sweep, f"dataset={','.join(names)}", *extra] for extra, names in together.items() for sweep in sweeps
    ], missing


def _train(words: Sequence[str]) -> int:
    """Run one sweep; its exit code.

    Raises:
        InputError: the sweep has refused the words, in a line of its own.
        KeyboardInterrupt: the sweep was interrupted.
    """
    print(f"reproduce: metriscope train -m {shlex.join(words)}", flush=True)

    def receive(number: int, frame: FrameType | None) -> None:
        # Ctrl-C and the end of a terminal reach the sweep without help.
        if number == signal.SIGTERM:
            child.terminate()

    child = subprocess.Popen([sys.executable, "-m", "metriscope", "train", "-m", *words])
    with answered_by(receive):
        code = child.wait()
    if code == Exit.INTERRUPTED:
        raise KeyboardInterrupt("interrupted: the same command goes on")
    if code == Exit.WRONG_INPUT:
        raise InputError("the sweep above was refused: nothing was reported")
    return code
