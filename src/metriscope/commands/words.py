"""The parser of a subcommand's words, whose refusals are one line."""

import argparse
from typing import NoReturn

from metriscope.errors import InputError


class Parser(argparse.ArgumentParser):
    """As argparse's own, without the usage before a refusal."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; {self.prog} --help says more")
