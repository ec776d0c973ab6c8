"""The parser of a subcommand's words, whose refusals are one line, and the type of paths."""

import argparse
from pathlib import Path
from typing import NoReturn

from metriscope.errors import InputError


class Parser(argparse.ArgumentParser):
    """As argparse's own, without the usage before a refusal."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; {self.prog} --help says more")


def a_path(text: str) -> Path:
    """The type of words that name a file or a folder: a variable of the shell that is not set is no working folder."""
    if not text:
        raise argparse.ArgumentTypeError("an empty word names no file and no folder")
    return Path(text)
