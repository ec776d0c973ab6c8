"""Keys that rank neighbours by distance, then by column, in one integer.

The bits of non-negative floats sort like integers, so a neighbour packs into the int64 key ``(bits << 32) | column``.
No two keys are equal, so every selection method, on every device, gives the same neighbours, and at equal distances the
lower column ranks first.
"""

import torch
from torch import Tensor

COLUMN_MASK = 0xFFFFFFFF


def pack(distances: Tensor, columns: Tensor, out: Tensor) -> Tensor:
    """Keys of float32 distances that are not negative, and columns that broadcast to them, written to ``out``."""
    return out.copy_(distances.view(torch.int32)).bitwise_left_shift_(32).bitwise_or_(columns)


def distances_of(keys: Tensor) -> Tensor:
    """The float32 distances in keys."""
    return (keys >> 32).to(torch.int32).view(torch.float32)


def smallest(keys: Tensor, k: int) -> Tensor:
    """The k smallest keys of each row, ascending; may reorder ``keys``."""
    k = min(k, keys.shape[1])
    if keys.device.type != "cpu":
        return keys.topk(k, dim=1, largest=False, sorted=True).values
    # numpy's vectorised partition is many times faster than torch.topk, and releases the interpreter lock.
    array = keys.numpy()
    if 0 < k < array.shape[1]:
        array.partition(k - 1, axis=1)
    array[:, :k].sort(axis=1)
    return keys[:, :k]
