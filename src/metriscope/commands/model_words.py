"""Words that the commands of a trained model share: which model, and how it computes."""

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from metriscope.commands.words import a_path
from metriscope.errors import InputError
from metriscope.terminal import is_interactive

if TYPE_CHECKING:
    from metriscope.serving.embedder import Embedder

NAMES_SHOWN = 5


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Options of :func:`model_of` and of the embedding."""
    option = parser.add_argument
    option("--batch-size", type=count, default=64, metavar="N", help="images at a time (default: 64)")
    option("--device", help="such as cpu, cuda, cuda:1 (default: cuda where there is one, else cpu)")
    option("--precision", choices=["fp32", "bf16"], default="fp32", help="bf16: faster where the device has it")
    option(
        "--unreadable",
        choices=["stop", "skip"],
        default="stop",
        help="at an image that cannot be read: stop (default), or go on without it",
    )
    option("--checkpoint", choices=["best", "last"], help="default: the one that was tested")
    option("--trust-code", action="store_true", help="allow a model whose parts do not ship with Metriscope to run")


def count(text: str) -> int:
    """A whole number from 1 on."""
    try:
        found = int(text)
    except ValueError:
        found = 0
    if found < 1:
        raise argparse.ArgumentTypeError(f"{text}: it has to be a whole number from 1 on")
    return found


def model_of(arguments: argparse.Namespace) -> "Embedder":
    """The embedder of the run that the words name, on its device.

    Raises:
        InputError: there is no model, or no such device.
    """
    device = _device(arguments.device)
    from metriscope.serving.embedder import load

    return load(arguments.run, arguments.checkpoint, trust_code=arguments.trust_code).to(device)


def _device(name: str | None) -> str:
    import torch

    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name).cpu()
    # Devices are missing in many ways.
    except Exception as error:
        raise InputError(f"--device {name}: {str(error).splitlines()[0]}") from error
    return name


@contextmanager
def told_progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A function of how many are done, and of how many, that draws a bar where standard output is a terminal."""
    if not is_interactive():
        yield lambda done, total: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def told_skipped(skipped: list[str]) -> list[str]:
    """Lines that say how many images could not be read, and the first of them."""
    if not skipped:
        return []
    more = f", such as the first {NAMES_SHOWN}:" if len(skipped) > NAMES_SHOWN else ":"
    images = "1 image" if len(skipped) == 1 else f"{len(skipped):,} images"
    return [f"skipped {images} that cannot be read{more}", *(f"  {line}" for line in skipped[:NAMES_SHOWN])]


def add_files(parser: argparse.ArgumentParser, images: str, output: str) -> None:
    """Arguments of a command that embeds files into a file."""
    parser.add_argument("run", type=a_path, help="folder of a finished run, or of an exported model")
    parser.add_argument("images", type=a_path, nargs="+", help=images)
    parser.add_argument("-o", "--output", type=a_path, required=True, metavar="FILE", help=output)
    parser.add_argument("--overwrite", action="store_true", help="replace an output of another model or other images")
    add_model_options(parser)
