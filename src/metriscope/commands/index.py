"""Save a gallery: the embeddings of images by a trained run, in a file that metriscope search reads.

metriscope index outputs/default/mine-resnet18/triplet-all/seed0-1a2b3c4d photos/ -o photos.index
metriscope search outputs/default/mine-resnet18/triplet-all/seed0-1a2b3c4d query.jpg photos.index

Stopped or killed, the same command goes on where it was. The file holds paths, and no images.
"""

import argparse
from collections.abc import Sequence

from metriscope import environment
from metriscope.commands.embed import embed
from metriscope.commands.model_words import add_files
from metriscope.commands.words import Parser


def main(words: Sequence[str]) -> int:
    """The exit code.

    Raises:
        InputError, KeyboardInterrupt: as of :func:`metriscope.commands.embed.main`.
    """
    parser = Parser("metriscope index", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_files(parser, "folders or files of images", "such as photos.index")
    arguments = parser.parse_args(words)
    environment.prepare()
    from metriscope.serving.galleries import FILE

    return embed(arguments, FILE)
