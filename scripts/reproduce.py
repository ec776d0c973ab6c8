"""Run a paper's study as far as the data at hand allows, and write its tables, figures and verdicts.

    python scripts/reproduce.py contrastive_vs_triplet scale=laptop hydra/launcher=joblib

Words after the paper's name go to every run, as on the command line of train.py (seed='range(5)' is the default).
Finished runs are not repeated, so the same command goes on after an interruption.
"""

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

from metriscope.cli import INTERRUPTED, WRONG_INPUT, fail
from metriscope.composing import compose_config, parse
from metriscope.errors import InputError
from metriscope.reports.papers import PAPERS, Paper
from metriscope.reports.reproduction import write_reproduction
from metriscope.reports.study import load_study

TRAIN = Path(__file__).resolve().parents[1] / "train.py"


def main() -> int:
    """Exits with 0 when all runs have finished, 1 when some failed, 2 for wrong input, 130 when interrupted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paper", choices=PAPERS)
    parser.add_argument("words", nargs="*", metavar="word", help="scale=full|laptop, paths.data_dir=..., seed=...")
    parser.add_argument("--report-only", action="store_true", help="train nothing; report on the runs that are there")
    parser.add_argument(
        "--out", type=Path, help="where tables, figures and verdicts go; default: in the study's folder"
    )
    arguments = parser.parse_args()
    paper = PAPERS[arguments.paper]
    try:
        return _reproduce(paper, arguments)
    except InputError as error:
        fail(str(error), WRONG_INPUT)
    except KeyboardInterrupt:
        fail("interrupted: the same command goes on", INTERRUPTED)
    return 0


def _reproduce(paper: Paper, arguments: argparse.Namespace) -> int:
    words = _with_defaults(paper, arguments.words)
    single = [word for word in words if not parse(word).is_sweep_override() and not parse(word).is_hydra_override()]
    cfg = compose_config(single)
    commands, missing = _commands(paper, words, Path(cfg.paths.data_dir), cfg.scale.name)
    for line in missing:
        print(f"reproduce: {line}")
    study = f"{cfg.study}-{cfg.scale.name}"
    failed = False
    for command in [] if arguments.report_only else commands:
        print(f"reproduce: python train.py {shlex.join(command)}", flush=True)
        code = subprocess.run([sys.executable, str(TRAIN), *command, f"study={study}"]).returncode
        if code == INTERRUPTED:
            raise KeyboardInterrupt
        if code == WRONG_INPUT:
            return code
        failed |= code != 0
    folder = Path(cfg.paths.output_dir) / study
    out = arguments.out or folder / "report"
    runs = load_study(folder)
    spoken = f"python scripts/reproduce.py {arguments.paper} {shlex.join(arguments.words)}"
    judgements = write_reproduction(runs, paper, out, spoken, missing)
    for judgement in judgements:
        print(f"claim {judgement.claim.number}: {judgement.verdict}: {judgement.claim.text}")
    print(f"report: {out / 'README.md'}")
    return int(failed)


def _with_defaults(paper: Paper, words: list[str]) -> list[str]:
    given = {str(parse(word).key_or_group) for word in words}
    if clash := given & {"dataset", "loss", "experiment", "study"}:
        raise InputError(
            f"{min(clash)} is the paper's own: leave it out; the data sets at hand are found by themselves"
        )
    return [f"experiment={paper.experiment}", *words, *(["seed=range(5)"] if "seed" not in given else [])]


def _commands(paper: Paper, words: list[str], data_dir: Path, scale: str) -> tuple[list[list[str]], list[str]]:
    """One sweep for all data sets that take the same words, and a line for each that is not at hand."""
    sweeps: dict[tuple[str, ...], list[str]] = {}
    missing = []
    for data in paper.data:
        choice = data.at_hand(data_dir)
        if choice is None:
            folders = " or ".join(str(data_dir / needs) for needs in data.choices.values() if needs)
            missing.append(f"{data.title} is not at hand: no {folders}")
        else:
            sweeps.setdefault(tuple(data.laptop) if scale == "laptop" else (), []).append(choice)
    losses = ",".join(paper.losses)
    return [["-m", *words, f"loss={losses}", f"dataset={','.join(d)}", *extra] for extra, d in sweeps.items()], missing


if __name__ == "__main__":
    sys.exit(main())
