"""Evaluate the weights of a finished run, or a trunk with its pretrained weights, on the test part of a data set.

metriscope evaluate outputs/default/digits-small_cnn/triplet-all/seed0-1a2b3c4d evaluation.save_embeddings=true
metriscope evaluate outputs/default/cub-resnet50/triplet-all/seed0-1a2b3c4d dataset=cars196
metriscope evaluate backbone=efficientnet_lite0 dataset=cars196

Nothing is trained. What comes of it lies in the study, as a run that compare and status read. Words are those of
metriscope train; those that only training reads are refused.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from metriscope import environment
from metriscope.commands.words import Parser
from metriscope.errors import Exit, InputError


def main(words: Sequence[str]) -> int:
    """The exit code.

    Raises:
        InputError: a wrong word, run, config or data.
        RunError: the evaluation had to stop.
        KeyboardInterrupt: a signal stopped it.
    """
    environment.prepare()
    parser = Parser("metriscope evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", metavar="word", help="the folder of a run, key=value, group=choice")
    parser.add_argument("--config-dir", metavar="FOLDER", help="a folder of choices of your own")
    arguments = parser.parse_intermixed_args(words)
    run, overrides = _split(arguments.words)
    from metriscope.evaluating import evaluate

    evaluate(overrides, run, arguments.config_dir)
    return Exit.FINISHED


def _split(words: Sequence[str]) -> tuple[Path | None, list[str]]:
    """The folder of a run among the words, if there is one, and the others."""
    folders = [word for word in words if ("=" not in word and not word.startswith("~")) or Path(word).is_dir()]
    if not words:
        raise InputError("give the folder of a run, or a trunk, as in metriscope evaluate backbone=efficientnet_lite0")
    if len(folders) > 1:
        raise InputError(f"{folders[0]} and {folders[1]}: evaluate takes the folder of one run")
    return (Path(folders[0]) if folders else None), [word for word in words if word not in folders]
