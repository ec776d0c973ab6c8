"""A share of the training samples: stratified, the same for all seeds, other parts untouched."""

import pytest
import torch

from metriscope.data.examples import Examples, Source
from metriscope.data.share import with_share_of_training
from metriscope.data.splits import Splits, split
from metriscope.errors import InputError


def splits() -> Splits:
    labels = torch.arange(3).repeat_interleave(torch.tensor([100, 50, 1]))
    train = Examples(torch.arange(len(labels)).float().unsqueeze(1), labels, ("a", "b", "c"))
    return split(Source(train, train), "closed_set", validation=0)


def test_every_class_keeps_its_share_and_one_sample_at_least() -> None:
    whole = splits()
    tenth = with_share_of_training(whole, 0.1)
    assert tenth.train.counts.tolist() == [10, 5, 1]
    assert tenth.train.classes == whole.train.classes
    assert tenth.test is whole.test
    again = with_share_of_training(splits(), 0.1)
    assert isinstance(tenth.train.inputs, torch.Tensor)
    assert isinstance(again.train.inputs, torch.Tensor)
    assert torch.equal(tenth.train.inputs, again.train.inputs)
    assert len(tenth.train.inputs.unique()) == 16


def test_all_is_all() -> None:
    whole = splits()
    assert with_share_of_training(whole, None) is whole
    assert with_share_of_training(whole, 1) is whole


@pytest.mark.parametrize("share", [0, -0.1, 1.5])
def test_a_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(InputError, match=r"dataset\.train_share"):
        with_share_of_training(splits(), share)
