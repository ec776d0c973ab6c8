"""Compare losses that are tuned alike: search on training classes, seal, repeat, test.

metriscope fair dataset=digits losses=contrastive,triplet/semihard,infonce trials=5 folds=3 repeats=3
metriscope fair dataset=digits losses=triplet,triplet/semihard trials=2 folds=2 repeats=2 trainer.max_epochs=1
metriscope fair dataset=cub backbone=resnet50 backbone.freeze=true losses=arcface,multi_similarity workers=2
metriscope fair dataset=digits losses=supcon,infonce 'supcon:loss.temperature=interval(0.05,0.5)'

Words of its own:
  losses=A,B/MINER,C/MINER/WEIGHTING   the entries to compare; a part that is left out is the usual one of the loss
  trials=30     trials per entry; the first is the default setting
  folds=4       folds of the training classes (of the training samples on closed-set data)
  repeats=10    runs of each winner on all training classes, with seeds seed, seed+1, ...
  models=all    a repeat is one model on all training classes; folds: one without each fold, scored one by one and
                concatenated
  untuned=false true: the default settings are repeated and tested too, once the search is closed
  search=tpe    tpe or gp
  prune=0.1     a trial ends early where it is worse than the best one on the same folds by this share; null: never
  seed=0        of the study
  workers=N     processes, the number of cores by default; 0: none beside this one
  ENTRY:key=... a word for one entry alone

All other words are those of metriscope train and hold for every run. A range, such as
'loss.margin=interval(0.1,0.5)', is searched, beside those that the files of the parts give, the learning rate of the
head and that of the loss. study=fair unless the words name another; the same command goes on after an interruption.
Nothing is tested before every entry has closed its search. The report is written at the end, and of what there is by

metriscope fair --report outputs/fair
"""

import argparse
from collections.abc import Sequence

from metriscope import environment
from metriscope.commands.words import Parser, a_path
from metriscope.errors import Exit, InputError


def main(words: Sequence[str]) -> int:
    """The exit code.

    Raises:
        InputError: wrong words, data that do not fit them, or the folder of another study.
        RunError: nothing can be compared, or disk or memory are not enough.
        KeyboardInterrupt: a signal asked to stop.
    """
    environment.prepare()
    parser = Parser("metriscope fair", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", metavar="word", help="losses=..., key=value, group=choice")
    parser.add_argument("--config-dir", metavar="FOLDER", help="a folder of choices of your own")
    parser.add_argument("--report", type=a_path, metavar="FOLDER", help="report on a comparison, and train nothing")
    parser.add_argument("--out", type=a_path, metavar="FOLDER", help="of the report (default: report, in the study)")
    arguments = parser.parse_intermixed_args(words)
    if arguments.report is not None:
        return _report(arguments)
    if arguments.out is not None:
        raise InputError("--out is for --report: the report at the end lies in the study's folder")
    from metriscope.fair.words import read

    asked = read(arguments.words, arguments.config_dir)
    from metriscope.fair.study import compare

    return Exit.FINISHED if compare(asked) else Exit.RUN_FAILED


def _report(arguments: argparse.Namespace) -> int:
    from metriscope.reports.fair_report import write_fair_report

    if arguments.words:
        raise InputError(f"{arguments.words[0]}: --report takes the folder of a comparison, and no words")
    try:
        print(f"report: {write_fair_report(arguments.report, arguments.out)}")
    except OSError as error:
        raise InputError(f"cannot write {error.filename}: {error.strerror}; set --out") from error
    return Exit.FINISHED
