"""The one door by which a step waits for a number of its device."""

from torch import Tensor


def awaited(number: Tensor) -> int:
    """A whole number that the host has to know before it can go on.

    A GPU first finishes all that it has been given, and starts nothing meanwhile. Whoever calls this says in its
    docstring how often it does so in a step, and why.

    Args:
        number: scalar.
    """
    return int(number)
