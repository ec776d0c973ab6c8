"""The command ``metriscope`` and its subcommands; imports what the subcommand needs, and no more."""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module

from metriscope.errors import Exit, InputError, RunError, nearest
from metriscope.escapes import shown
from metriscope.signals import exit_on_requests
from metriscope.terminal import outliving_its_reader

COMMANDS = {
    "train": "one run or, with -m, a sweep",
    "evaluate": "a finished run, or a pretrained trunk, on the test part of any data set",
    "fair": "losses tuned alike, sealed, repeated and tested",
    "status": "how far the runs of a study are",
    "compare": "the runs of a study in tables and figures, with intervals",
    "reproduce": "a paper's study, with a verdict on each of its claims",
    "embed": "the embeddings of images by a trained run, as a file",
    "index": "a gallery of images as a file that search reads",
    "search": "the nearest images of a gallery for each query",
    "export": "a run's model in a folder of its own, with its card, and as ONNX",
    "data": "fetch, unpack, verify and audit data sets ahead of their runs",
    "wandb-report": "a Weights & Biases report of a study",
}
_HELP = f"""Metriscope: put a loss under the microscope and see what it does to the embedding space.

usage: metriscope COMMAND ...   (metriscope COMMAND --help says more)

{chr(10).join(f"  {name:14}{what}" for name, what in COMMANDS.items())}

  metriscope train dataset=digits loss=triplet
  metriscope compare outputs/default

Exit codes: 0 finished, 1 a run failed, 2 wrong input or configuration, 130 interrupted."""


def main(words: Sequence[str] | None = None) -> None:
    """Run the subcommand that the words (default: of the command line) begin with, and exit with its code."""
    exit_on_requests()
    words = sys.argv[1:] if words is None else list(words)
    if words[:1] in (["--help"], ["-h"]):
        print(_HELP)
        sys.exit(Exit.FINISHED)
    if words[:1] in (["-sc"], ["--shell-completion"]):
        sys.exit(_complete(words))
    if words == ["--version"]:
        from metriscope import __version__

        print(f"metriscope {__version__}")
        sys.exit(Exit.FINISHED)
    if not words or words[0] not in COMMANDS:
        sys.exit(_refuse(words))
    sys.exit(run(words[0], words[1:]))


def train() -> None:
    """``python train.py ...``: the same as ``metriscope train ...``."""
    main(["train", *sys.argv[1:]])


def run(command: str, words: Sequence[str]) -> int:
    """One subcommand; its exit code. What went wrong is one line on standard error."""
    try:
        with outliving_its_reader():
            code: int = import_module(f"metriscope.commands.{command.replace('-', '_')}").main(words)
    except KeyboardInterrupt as error:
        return _say(str(error) or "interrupted", Exit.INTERRUPTED)
    except InputError as error:
        return _say(str(error), Exit.WRONG_INPUT)
    except RunError as error:
        return _say(str(error), Exit.RUN_FAILED)
    except OSError as error:
        if error.filename is None:
            raise
        # Names that are too long, and folders without right, stop any look at a path.
        return _say(f"{os.fsdecode(error.filename)} cannot be used: {error.strerror}", Exit.WRONG_INPUT)
    return code


def _complete(words: Sequence[str]) -> int:
    """Answer a shell, which calls a program without its words: commands, or what Hydra completes behind ``train``."""
    typed = os.environ.get("COMP_LINE", "")
    program, *said = typed.split()[:3] or [""]
    if words[1:] and words[1].startswith("query="):
        if not said or (len(said) == 1 and not typed[-1].isspace()):
            print(*COMMANDS, sep="\n")
            return Exit.FINISHED
        if said[0] != "train":
            return Exit.FINISHED
        os.environ["COMP_LINE"] = f"{program} {typed.split('train', 1)[1].lstrip()}"
    return run("train", words)


def _refuse(words: Sequence[str]) -> int:
    there = f"There are: {', '.join(COMMANDS)}"
    if not words:
        return _say(f"give a command, as in metriscope train loss=triplet. {there}", Exit.WRONG_INPUT)
    if "=" in words[0] or words[0].startswith("-"):
        return _say(f"{words[0]}: a command comes first, as in metriscope train {words[0]}. {there}", Exit.WRONG_INPUT)
    return _say(f"{words[0]}: no such command{nearest(words[0], COMMANDS)} {there}", Exit.WRONG_INPUT)


def _say(line: str, code: int) -> int:
    with suppress(OSError):  # the terminal may be gone
        print(f"metriscope: {shown(line)}", file=sys.stderr)
    return code
