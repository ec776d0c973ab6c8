"""Measure Metriscope against pytorch-metric-learning and torchvision, side by side on this machine.

Times are taken in one process, the sides in turns (A B A B); peaks of memory in a process of its own per
case. Value and gradient are asserted equal before anything is timed. Turns that other processes disturb are
left out; where the machine is never quiet, OMP_WAIT_POLICY=passive keeps idle threads from making it worse.

Against another commit, each of the two codes has a process of its own and they run in turns; all turns count,
and the ratio of times comes with the 95 % interval of its median.
"""

import argparse
import importlib
import sys
import time
from pathlib import Path

from metriscope import environment

SUBJECTS = {
    "triplets": "band triplet loss, forward and backward, against TripletMarginLoss and TripletMarginMiner",
    "evaluation": "metrics of a whole set against AccuracyCalculator and faiss, and their growth; or --against REV",
    "verification": "rates of all pairs of 60,000 x 512 in 1,000 classes, and of 5,000 against sorting all scores",
    "diagnostics": "an epoch with all diagnostics against one without",
    "variance": "all measures of variance of SOP's test half, and of 200,000 samples in 100,000 classes",
    "input": "batches of small images, and of photographs at 224 px, against torchvision's transforms in a DataLoader",
    "frozen": "a head on a frozen trunk: features kept against forwarding in every epoch; needs --data-dir",
    "losses": "every loss that both have, and how band triplets grow; or --against REV: those of another commit",
    "limits": "peak memory and time of a step on large batches, beside the memory that it may take",
    "compare": "metriscope compare on 1,000 made-up runs of 100 epochs: seconds and peak memory",
    "step": "steps of training by this code against those of another commit: HEAD or --against REV",
    "busy": "the default run on a quiet machine and beside two busy loops, with and without GOMP_SPINCOUNT",
    "serving": "load, embedding of JPEG files against the trunk alone (needs --data-dir), search in a large gallery",
    "chunks": "a batch embedded in chunks against the plain step: time, and peak memory beside that of a chunk",
    "kernels": "slopes by hand against the formulas of the same losses",
    "mixtures": "a step with mixtures of samples against one without, of a small network and of the objective alone",
    "average": "a step with a moving average of the weights against one without, and against torch's AveragedModel",
    "ranks": "a gathered batch that several processes judge: arithmetic, time, memory, and equality with one",
    "hyperbolic": "a step, and an exact search, with the hyperbolic distance beside the Euclidean one",
    "mnist": "an epoch of MNIST and its evaluation against the same job of the peer; needs --data-dir",
}
NEED_DATA = ("frozen", "mnist")
COMPARE_COMMITS = {"step": "HEAD", "losses": None, "evaluation": None}
"""Subjects that take ``--against``, and what they do without it."""


def main() -> int:
    environment.prepare()  # as the command line does, here for both sides
    arguments = _parser().parse_args()
    chosen = arguments.subjects or [name for name in SUBJECTS if name not in NEED_DATA or arguments.data_dir]

    from benchmarks.measuring import header

    print(header())
    for name in chosen:
        started = time.perf_counter()
        print(f"\n== {name}: {SUBJECTS[name]}", flush=True)
        further = {"against": arguments.against or COMPARE_COMMITS[name]} if name in COMPARE_COMMITS else {}
        importlib.import_module(f"benchmarks.{name}").run(arguments.quick, arguments.data_dir, **further)
        print(f"[{name} took {time.perf_counter() - started:.0f} s]", flush=True)
    return 0


def _subject(word: str) -> str:
    if word not in SUBJECTS:
        raise argparse.ArgumentTypeError(f"no subject {word!r}; there are {', '.join(SUBJECTS)}")
    return word


def _parser() -> argparse.ArgumentParser:
    listed = "\n".join(f"  {name:<12} {text}" for name, text in SUBJECTS.items())
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f"subjects (default: all that the data at hand allow):\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("subjects", nargs="*", metavar="subject", type=_subject, help="what to measure: see below")
    parser.add_argument("--data-dir", type=Path, help="folder with MNIST/raw, as paths.data_dir, and cifar10-jpg.tar")
    parser.add_argument("--against", metavar="REV", help="step, losses, evaluation: the commit to compare with")
    parser.add_argument("--quick", action="store_true", help="small sizes, few repeats: to see that it works")
    return parser


if __name__ == "__main__":
    sys.exit(main())
