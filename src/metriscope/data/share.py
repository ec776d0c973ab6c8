"""A share of the training samples, as the budget of a run on less data."""

from dataclasses import replace

from metriscope.data.splits import Splits, stratified
from metriscope.errors import InputError


def with_share_of_training(splits: Splits, share: float | None) -> Splits:
    """The splits with this share of the samples of every training class, at least one each; None or 1: all.

    Like the parts themselves, the share is the same for all seeds, so that the runs of a study see the same samples.

    Raises:
        InputError: the share is not above 0 and at most 1.
    """
    if share is None or share == 1:
        return splits
    if not 0 < share < 1:
        raise InputError(f"dataset.train_share={share}: the share of training samples must be above 0 and at most 1")
    kept, _ = stratified(splits.train.labels, 1 - share)
    return replace(splits, train=splits.train.take(kept))
