"""Exceptions and exit codes of deliberate stops; any other exception is a bug and keeps its traceback."""

import difflib
import signal
from collections.abc import Iterable
from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of every command."""

    FINISHED = 0
    RUN_FAILED = 1
    WRONG_INPUT = 2
    INTERRUPTED = 130


class InputError(Exception):
    """Wrong input or configuration: one line that says what was wrong, where, and what to do. Exit code 2.

    >>> from metriscope import InputError, compose_config
    >>> try:
    ...     compose_config(["loss=triplte"])
    ... except InputError as error:
    ...     print("did you mean 'triplet'?" in str(error))
    True
    """


class RunError(Exception):
    """A run that had to stop, such as at a loss that is not finite: one line that says when and why. Exit code 1.

    >>> import torch
    >>> from metriscope import RunError
    >>> from metriscope.metrics import retrieval_metrics
    >>> try:
    ...     retrieval_metrics(torch.full((2, 2), torch.nan), torch.tensor([0, 0]))
    ... except RunError as error:
    ...     print(error)
    2 of 2 embeddings hold NaN or Inf, so they cannot be ranked
    """


class Interrupted(Exception):
    """The run was asked to stop by a signal; its state is saved. Exit code 130."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number = number


class Pruned(RunError):
    """A trial that a search ended early because other trials do better. Not a failure.

    >>> from metriscope import Pruned, RunError
    >>> issubclass(Pruned, RunError)
    True
    """


def nearest(word: str, choices: Iterable[str]) -> str:
    """``; did you mean 'x'?`` for the closest choice, or a full stop."""
    match = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.5)
    return f"; did you mean '{match[0]}'?" if match else "."
