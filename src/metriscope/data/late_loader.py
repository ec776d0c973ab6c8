"""A dataloader that starts when its first batch is requested."""

from collections.abc import Callable, Iterator
from typing import Any

from torch.utils.data import DataLoader

from metriscope.errors import RunError

LONGEST_WAIT = 1800
"""Seconds without a batch after which workers are taken for dead."""


class LateLoader(DataLoader[Any]):
    """A dataloader that starts when its first batch is requested.

    Lightning creates the iterator of a resumed run before it restores the epoch and the batch; without the delay
    workers would already be reading wrong batches.
    """

    before: Callable[[], None] | None = None

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        if self.before is not None:
            self.before()
        try:
            yield from super().__iter__()
        except RuntimeError as error:
            if "DataLoader timed out" not in str(error):
                raise
            raise RunError(
                f"the workers gave no batch within {LONGEST_WAIT / 60:g} minutes: is the disk at hand, and /dev/shm "
                "large enough? Set dataset.num_workers=0 to read without workers"
            ) from error

    # There is no state to save, but without these methods Lightning warns that runs cannot resume within an epoch.
    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass
