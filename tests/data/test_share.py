"""A share of the training samples: stratified, the same for all seeds, other parts untouched."""

import pytest
import torch

from metriscope.data.examples import Examples, Source
from metriscope.data.loading import load_splits
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


@pytest.mark.parametrize("protocol", ["closed_set", "class_disjoint"])
def test_a_share_that_is_taken_first_holds_the_held_out_part_too(protocol: str) -> None:
    synthetic = {"_target_": "metriscope.data.datasets.synthetic.load", "name": "synthetic", "protocol": protocol,
                 "classes": 8, "per_class": 30, "dimension": 4, "intra": 1.0, "inter": 1.0, "project": False,
                 "data_seed": 0}  # fmt: skip

    def rows(dataset: dict[str, object], **how: bool) -> list[set[tuple[float, ...]]]:
        parts = load_splits({**synthetic, "train_share": 0.5, **dataset}, **how)
        found = (parts.train.inputs, parts.validation.inputs if parts.validation else torch.empty(0, 4))
        assert all(isinstance(one, torch.Tensor) for one in found)
        return [set(map(tuple, one.tolist())) for one in found]  # type: ignore[union-attr]

    share, nothing = rows({"validation": 0})
    assert not nothing
    folds = [rows({"validation": 0.5, "fold": fold}, share_first=True) for fold in range(2)]
    for train, held_out in folds:
        assert train | held_out == share
        assert not train & held_out
    assert folds[0][1] | folds[1][1] == share
    # Else the held-out part is one of all samples.
    train, held_out = rows({"validation": 0.5})
    assert len(train) < len(held_out)
