"""Guard for calls whose failures must not stop a run. Imports no torch."""

import logging
from collections.abc import Callable
from typing import TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")


class Guard:
    """Catches every exception: the first failure logs a warning, after which nothing is called any more.

    Args:
        label: name of the guarded object, for the warning.
        advice: how the warning ends.
    """

    def __init__(self, label: str, advice: str = "the run goes on without it") -> None:
        self.label = label
        self.advice = advice
        self.lost = False

    def __call__(self, action: str, call: Callable[[], T], *, always: bool = False) -> T | None:
        """What ``call`` returns; None where it fails, or where an earlier call failed, unless it is made ``always``.

        Args:
            action: what it does, as in "could not log".
        """
        if self.lost and not always:
            return None
        try:
            return call()
        except Exception as error:
            if not self.lost:
                log.warning("%s could not %s (%s): %s", self.label, action, first_line(error), self.advice)
            self.lost = True
            return None


def first_line(error: BaseException) -> str:
    """The first line of what an exception says; its type where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
