"""Label noise: which training labels become wrong, and that they are recorded."""

import pytest
import torch

from metriscope.data.examples import Examples
from metriscope.data.label_noise import label_noise
from metriscope.errors import InputError


def examples(counts: dict[str, int]) -> Examples:
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(list(counts.values())))
    return Examples(torch.zeros(len(labels), 2), labels, tuple(counts))


TRAIN = examples({"cat": 40, "dog": 30, "cow": 20, "1": 5})


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (0.2, 19), (0.5, 48), (0.99, 94)])
def test_an_exact_share_of_the_labels_is_wrong_and_the_record_says_which(share: float, count: int) -> None:
    noise = label_noise(TRAIN, share, seed=3)
    assert noise.count == count
    assert torch.equal(noise.noisy, noise.labels != TRAIN.labels)
    assert noise.labels.dtype == torch.int64
    assert 0 <= int(noise.labels.min()) <= int(noise.labels.max()) < 4


def test_the_other_classes_are_equally_likely() -> None:
    train = examples(dict.fromkeys("abcd", 3000))
    noise = label_noise(train, 0.9, seed=0)
    counts = torch.zeros(4, 4)
    counts.index_put_((train.labels, noise.labels), torch.ones(len(train)), accumulate=True)
    others = counts[~torch.eye(4, dtype=torch.bool)]
    assert (others - 900).abs().max() < 120  # 4 standard deviations


def test_the_seed_decides_and_a_larger_share_holds_the_smaller() -> None:
    small, same, large = (label_noise(TRAIN, share, seed=1) for share in (0.2, 0.2, 0.4))
    other = label_noise(TRAIN, 0.2, seed=2)
    assert torch.equal(small.labels, same.labels)
    assert not torch.equal(small.labels, other.labels)
    assert torch.equal(large.labels[small.noisy], small.labels[small.noisy])


def test_pairs_change_the_classes_they_name_alone() -> None:
    # A class that is named "1" comes before the class with this number.
    noise = label_noise(TRAIN, 0.5, seed=0, pairs={"cat": "dog", 2: 1})
    assert noise.count == 30
    assert set(TRAIN.labels[noise.noisy].tolist()) == {0, 2}
    assert set(noise.labels[noise.noisy & (TRAIN.labels == 0)].tolist()) == {1}
    assert set(noise.labels[noise.noisy & (TRAIN.labels == 2)].tolist()) == {3}


@pytest.mark.parametrize(
    ("share", "pairs", "line"),
    [
        (1.0, None, "dataset.label_noise=1.0: it has to be a share of at least 0 and below 1"),
        (-0.1, None, "dataset.label_noise=-0.1: it has to be a share"),
        (float("nan"), None, "dataset.label_noise=nan: it has to be a share"),
        (0.001, None, "dataset.label_noise=0.001 of 95 training samples is none: raise the share, or set it to null"),
        (0.2, {"cat": "dgo"}, "dataset.label_noise_pairs: training has no class dgo; did you mean 'dog'"),
        (0.2, {"cat": 4}, "dataset.label_noise_pairs: training has no class 4. It has 4, by name or by number from 0"),
        (0.2, {"cat": 0}, "dataset.label_noise_pairs: 'cat' stands for itself"),
        (0.2, {"cat": "dog", 0: "cow"}, "dataset.label_noise_pairs: 'cat' is there twice, by name and by number"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(share: float, pairs: dict[str | int, str | int], line: str) -> None:
    with pytest.raises(InputError) as error:
        label_noise(TRAIN, share, seed=0, pairs=pairs)
    assert str(error.value).startswith(line)
    assert "\n" not in str(error.value)


def test_one_class_alone_has_no_wrong_label() -> None:
    with pytest.raises(InputError, match="training has one class"):
        label_noise(examples({"cat": 5}), 0.2, seed=0)
