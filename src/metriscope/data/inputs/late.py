"""Inputs of a batch that become what the network gets only when they are needed, some examples at a time."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor


class LateInputs:
    """The inputs of a batch as they are stored, and how examples of them are converted.

    Args:
        stored: (B, ...), or a named tuple of such tensors, as images with the crop and flip planned for each.
        convert: the same of some examples -> inputs of the network, one for each.
    """

    def __init__(self, stored: Any, convert: Callable[[Any], Any]) -> None:
        self.tensors: tuple[Tensor, ...] = (stored,) if isinstance(stored, Tensor) else tuple(stored)
        self.read = _Reader(None if isinstance(stored, Tensor) else type(stored), convert)

    def __len__(self) -> int:
        return len(self.tensors[0])

    def first(self, count: int) -> Any:
        """The first examples, converted."""
        return self.read([tensor[:count] for tensor in self.tensors])

    def whole(self) -> Any:
        """All examples, converted."""
        return self.read(self.tensors)


class _Reader:
    """Turns the tensors of some examples into inputs of the network; holds no tensor itself."""

    def __init__(self, kind: Callable[..., Any] | None, convert: Callable[[Any], Any]) -> None:
        self.kind = kind
        self.convert = convert

    def __call__(self, tensors: Sequence[Tensor]) -> Any:
        return self.convert(tensors[0] if self.kind is None else self.kind(*tensors))


def divides(stored: Any, length: int) -> bool:
    """Whether inputs are one tensor, or a named tuple of tensors, with a row for each of ``length`` examples."""
    named = isinstance(stored, tuple) and hasattr(stored, "_fields")
    parts = (stored,) if isinstance(stored, Tensor) else stored if named else ()
    return bool(parts) and all(isinstance(part, Tensor) and part.shape[:1] == (length,) for part in parts)
