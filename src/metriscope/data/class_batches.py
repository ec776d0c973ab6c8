"""Which classes make up the batches of an epoch: P of them with K samples each, covering the data."""

import numpy as np
import torch
from numpy.typing import NDArray

from metriscope.errors import InputError

Ints = NDArray[np.int64]


def batch_shape(
    batch_size: int, classes: int | None, samples: int | None, available: int, largest: int
) -> tuple[int, int]:
    """P and K from the settings and the number of available classes and samples."""
    if classes is not None and classes > available:
        raise InputError(
            f"sampler.classes_per_batch={classes}, but the train split has {available} classes: set it to at "
            f"most {available}, or to null"
        )
    if samples is not None and samples > largest:
        raise InputError(
            f"sampler.samples_per_class={samples}, but the largest class has {largest} samples: set it to at "
            f"most {largest}, or to null"
        )
    P, K = classes, samples
    if P is None and K is None:
        P = min(available, max(2, batch_size // 4))
        K = min(batch_size // P, largest)
        P = min(available, batch_size // K) if K else P
    elif P is None and K is not None:
        P = min(available, batch_size // K)
    elif K is None and P is not None:
        K = min(batch_size // P, largest)
    assert P is not None
    assert K is not None
    if P < 1 or K < 1:
        raise InputError(
            f"{P} classes x {K} samples is no batch (sampler.batch_size={batch_size}, "
            f"classes_per_batch={classes}, samples_per_class={samples}): raise sampler.batch_size or set the "
            "other two so that they fit in it"
        )
    return P, K


def plan_of_classes(groups: Ints, width: int, source: torch.Generator) -> Ints:
    """Classes of every batch, (T, width), distinct within a row; class c occurs at least ``groups[c]`` times.

    Taking the classes with most groups left first needs the fewest batches: max(groups.max(),
    ceil(groups.sum() / width)).
    """
    left = groups.copy()
    rows: list[Ints] = []
    while 0 < np.count_nonzero(left == left.max()) < width and left.max() > 0:
        priority = left + torch.rand(len(left), generator=source, dtype=torch.float64).numpy()
        row = np.argpartition(-priority, width - 1)[:width]
        rows.append(row)
        left[row] = np.maximum(left[row] - 1, 0)
    # From here on at least `width` classes share the largest number of groups left, also after one group of each
    # is taken: so whole rounds give the same batches as single choices.
    rounds: list[Ints] = []
    open_batch = np.empty(0, dtype=np.int64)
    for level in range(int(left.max()), -1, -1):
        if level == 0 and len(open_batch) == 0:
            break
        members = np.flatnonzero(left >= level)
        members = members[torch.randperm(len(members), generator=source).numpy()]
        if len(open_batch):
            fresh = np.flatnonzero(~np.isin(members, open_batch))[: width - len(open_batch)]
            rounds.append(members[fresh])
            members = np.delete(members, fresh)
        if level > 0:
            rounds.append(members)
            open_batch = members[len(members) - len(members) % width :]
    tail = np.concatenate(rounds).reshape(-1, width) if rounds else np.empty((0, width), dtype=np.int64)
    plan: Ints = np.concatenate([np.array(rows, dtype=np.int64).reshape(-1, width), tail])
    order: Ints = torch.randperm(len(plan), generator=source).numpy()
    return plan[order]
