"""Standard output: whether it is a terminal, and what happens when its reader has gone."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast


def is_interactive() -> bool:
    """Whether standard output is a terminal that can redraw, and no test is running."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb" and "PYTEST_CURRENT_TEST" not in os.environ


@contextmanager
def outliving_its_reader() -> Iterator[None]:
    """Lets a command go on where the reader of its standard output has gone, as in ``| head -1``."""
    before = sys.stdout
    sys.stdout = cast(TextIO, _Outliving(before))
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stdout = before


class _Outliving:
    """A stream that writes into nothing once its pipe is broken."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            self._let_go()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._let_go()

    def _let_go(self) -> None:
        # What the stream still holds is written when the process ends.
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, self._stream.fileno())
        os.close(nothing)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
