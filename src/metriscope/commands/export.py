"""Export the model of a run to a folder of its own: tensors, description, model card and, on request, an ONNX graph.

metriscope export outputs/default/mine-resnet18/triplet-all/seed0-1a2b3c4d -o my-model
metriscope export outputs/default/mine-resnet18/triplet-all/seed0-1a2b3c4d -o my-model --onnx

metriscope.load("my-model") reads it again.
"""

import argparse
from collections.abc import Sequence

from metriscope import environment
from metriscope.commands.words import Parser, a_path
from metriscope.errors import Exit
from metriscope.escapes import shown


def main(words: Sequence[str]) -> int:
    """The exit code.

    Raises:
        InputError: wrong input, or a folder that cannot be written.
    """
    arguments = _parser().parse_args(words)
    environment.prepare()
    from metriscope.serving.export import export

    done = export(
        arguments.run,
        arguments.out,
        arguments.checkpoint,
        onnx=arguments.onnx,
        trust_code=arguments.trust_code,
        overwrite=arguments.overwrite,
    )
    if done.note is not None:
        print(shown(f"note: the ONNX graph was compared on random examples: {done.note}"))
    if (check := done.check) is not None:
        print(
            f"model.onnx: largest deviation from torch {check.deviation:.1e}, the same neighbours for "
            f"{check.same:.2%} of {check.queries:,} queries"
        )
    print(shown(f"written: {arguments.out} ({done.digest[:8]}); the licences in its README.md are yours to fill in"))
    return Exit.FINISHED


def _parser() -> argparse.ArgumentParser:
    parser = Parser("metriscope export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    option = parser.add_argument
    option("run", type=a_path, help="folder of a run: outputs/<study>/.../seed<k>-<hash>")
    option("-o", "--out", type=a_path, required=True, metavar="FOLDER", help="the folder to write")
    option("--onnx", action="store_true", help="a graph for ONNX Runtime too, compared with torch (extra: onnx)")
    option("--checkpoint", choices=["best", "last"], help="default: the one that was tested")
    option("--trust-code", action="store_true", help="run parts that do not ship with Metriscope")
    option("--overwrite", action="store_true", help="replace an earlier export")
    return parser
