"""State of single samples of the training set, such as a temperature or a running mean for each."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from metriscope.errors import InputError, nearest

# Rows whose repeats are averaged at once.
_CHUNK = 1024


class SampleState(nn.Module):
    """Buffers with one number for each sample of the training set, read and written by index.

    They are in the checkpoint, so a resumed run continues exactly, and the same on all processes, which judge the same
    gathered batch. In a network of half precision they stay in float32, where small steps are not lost. A part that has
    one takes the argument ``num_samples``.

    Args:
        num_samples: N.
        initial: the value that each sample starts from, by the name of the buffer.

    >>> state = SampleState(3, weight=1.0)
    >>> state.write("weight", torch.tensor([2, 2, -1]), torch.tensor([4.0, 6.0, 9.0]))
    >>> state.read("weight", torch.tensor([0, 2, -1])).tolist()
    [1.0, 5.0, 1.0]
    """

    def __init__(self, num_samples: int, **initial: float) -> None:
        super().__init__()
        self.num_samples = num_samples
        self.initial = initial
        for name, value in initial.items():
            self.register_buffer(name, torch.full((num_samples,), float(value)))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "SampleState":
        before = {name: self.get_buffer(name) for name in self.initial}
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, buffer in before.items():
            converted = self.get_buffer(name)
            if converted.dtype.itemsize < torch.float32.itemsize:
                setattr(self, name, buffer.to(converted.device))
        return self

    def columns(self, *names: str) -> list[Tensor]:
        """The values (N,) of all samples, of each name."""
        return [getattr(self, name) for name in names]

    def read(self, name: str, index: Tensor) -> Tensor:
        """The values (B,) at an index (B,); for -1, a sample of no training set, what samples start from."""
        self._check(name, index)
        values: Tensor = getattr(self, name)[index.clamp_min(0)]
        return torch.where(index >= 0, values, self.initial[name])

    @torch.no_grad()
    def write(self, name: str, index: Tensor, values: Tensor) -> None:
        """Set the values (B,) at an index (B,); those of a repeated index are averaged, those of -1 are dropped."""
        self._check(name, index, values)
        self._put(name, index, averaged(index, values))

    @torch.no_grad()
    def add(self, name: str, index: Tensor, values: Tensor) -> None:
        """Add the values (B,) at an index (B,), each of a repeated index; those of -1 are dropped."""
        self._check(name, index, values)
        self._put(name, index, self.read(name, index) + _over_repeats(index, values, _sums))

    def _put(self, name: str, index: Tensor, values: Tensor) -> None:
        buffer: Tensor = getattr(self, name)
        # Those of -1 rewrite what is there.
        kept = torch.where(index >= 0, values.to(buffer.dtype), self.read(name, index))
        place = torch.where(index >= 0, index, self.num_samples)
        extended = torch.cat([buffer, buffer.new_zeros(1)])
        extended[place] = kept
        buffer.copy_(extended[:-1])

    def _check(self, name: str, index: Tensor, values: Tensor | None = None) -> None:
        if name not in self.initial:
            raise InputError(f"there is no state {name}{nearest(name, self.initial)}")
        if values is not None and values.shape != index.shape:
            raise InputError(f"values {tuple(values.shape)} for an index {tuple(index.shape)}: give one for each")
        # The host looks only where it need not wait.
        if index.device.type != "cpu" or torch.compiler.is_compiling() or not len(index):
            return
        if (last := int(index.max())) >= self.num_samples:
            raise InputError(f"sample {last}: there is state of {self.num_samples}, from 0; give num_samples in full")


def averaged(index: Tensor, values: Tensor) -> Tensor:
    """Values (B,) at an index (B,) -> (B,) float64, for each place the mean over all places of its index."""
    return _over_repeats(index, values, _means)


def _over_repeats(index: Tensor, values: Tensor, merged: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    if not len(index):
        return values.double()
    chunks = torch.split(index, _CHUNK)
    return torch.cat([merged((rows.unsqueeze(1) == index).double(), values.double()) for rows in chunks])


# Matrix products, because a scattered sum on a GPU adds in any order.
def _sums(same: Tensor, values: Tensor) -> Tensor:
    return same @ values


def _means(same: Tensor, values: Tensor) -> Tensor:
    return same @ values / same.sum(1)
