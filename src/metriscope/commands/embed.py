"""Embed images by a trained run: embeddings with paths and labels, as an .npz or a Parquet file.

metriscope embed outputs/default/mine-resnet18/triplet-all/seed0-1a2b3c4d photos/ -o photos.npz
metriscope embed RUN photos/ more/ one.jpg -o all.parquet --unreadable skip

Folders are searched at every depth; the folder of an image is its label. Stopped or killed, the same command goes on
where it was. What it has done before is not done again.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from metriscope import environment
from metriscope.commands.model_words import add_files, model_of, told_progress, told_skipped
from metriscope.commands.words import Parser
from metriscope.errors import Exit, InputError
from metriscope.escapes import shown
from metriscope.signals import answered_by, raise_interrupt

if TYPE_CHECKING:
    from metriscope.serving.outputs import Format


def main(words: Sequence[str]) -> int:
    """The exit code.

    Raises:
        InputError: wrong input, an image that cannot be read, or an output that cannot be written.
        KeyboardInterrupt: stopped by a signal; what was done is kept.
    """
    parser = Parser("metriscope embed", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_files(parser, "folders or files of images", "ends in .npz or .parquet")
    arguments = parser.parse_args(words)
    environment.prepare()
    from metriscope.serving.outputs import format_of

    return embed(arguments, format_of(arguments.output))


def embed(arguments: argparse.Namespace, form: "Format") -> int:
    """Embed the images that the words of :func:`add_files` name; the exit code.

    Raises:
        InputError, KeyboardInterrupt: as of :func:`main`.
    """
    from metriscope.serving.images import listed_paths
    from metriscope.serving.jobs import check_output, embed_to_file

    output: Path = arguments.output
    check_output(output)
    given = listed_paths(arguments.images)
    model = model_of(arguments)
    try:
        with answered_by(raise_interrupt), told_progress("embedding") as progress:
            done = embed_to_file(
                model,
                given,
                output,
                form,
                batch_size=arguments.batch_size,
                precision=arguments.precision,
                unreadable=arguments.unreadable,
                overwrite=arguments.overwrite,
                progress=progress,
            )
    except OSError as error:
        raise InputError(f"cannot write {error.filename or output}: {error.strerror or error}") from error
    images = f"{done.images:,} images x {model.size}"
    told = f"done before, {images}; --overwrite does it again" if done.before else images
    print(shown(f"{output}: {told}"))
    for line in told_skipped(done.skipped):
        print(shown(line), file=sys.stderr)
    return Exit.FINISHED
