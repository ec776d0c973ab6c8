"""Batches of pairs: two rows for each, which share their label."""

import pytest
import torch
from batches import config

from metriscope.build.run import data_of
from metriscope.config.plain import plain
from metriscope.data.audit.reading import read
from metriscope.data.inputs.late import LateInputs
from metriscope.errors import InputError


def data(sampler="class_balanced", augmentation="none", **changes):
    small = {"classes": 4, "per_class": 12, "hidden": 3, "sizes": [3, 5]}
    changes = {f"dataset__{key}": value for key, value in small.items()} | {"sampler__batch_size": 8} | changes
    return data_of(plain(config("paired_synthetic", augmentation, sampler, **changes)))


@pytest.mark.parametrize("sampler", ["class_balanced", "shuffle", "similar_classes"])
def test_a_sampler_draws_pairs(sampler):
    found = data(sampler)
    train = found.splits.train
    seen = set()
    for inputs, labels, index in found.train_dataloader():
        pairs = index[0::2]
        assert torch.equal(index[1::2], pairs)
        assert torch.equal(labels, train.labels[index])
        assert torch.equal(inputs.first, train.inputs.first[pairs])
        assert torch.equal(inputs.second, train.inputs.second[pairs])
        seen |= set(pairs.tolist())
    assert seen == set(range(len(train)))


def test_evaluation_has_a_position_for_each_row():
    found = data(evaluation__batch_size=5)
    N = len(found.splits.test)
    batches = list(found.test_dataloader())
    index = torch.cat([batch[2] for batch in batches])
    assert index[0::2].tolist() == list(range(N))
    assert index[1::2].tolist() == list(range(N, 2 * N))
    assert torch.equal(torch.cat([batch[1] for batch in batches]), found.splits.test.labels.repeat_interleave(2))
    shown = found.evaluated(batches[0])
    assert torch.equal(shown[0].second, batches[0][0].second)


def test_labels_are_those_of_pairs():
    noisy = data(dataset__label_noise=0.5)
    wrong = {}
    for _, labels, index in noisy.train_dataloader():
        assert torch.equal(labels[0::2], labels[1::2])
        wrong |= dict(zip(index.tolist(), labels.tolist(), strict=True))
    assert sum(label != noisy.splits.train.labels[place] for place, label in wrong.items()) == noisy.splits.noise.count
    splits = data(dataset__protocol="class_disjoint", dataset__validation=0).splits
    assert (splits.train.num_classes, splits.test.num_classes) == (2, 2)
    assert set(splits.train.classes).isdisjoint(splits.test.classes)
    assert len(data(dataset__train_share=0.5).splits.train) < len(data().splits.train)
    assert data().splits.said().startswith("train: 44 pairs, 4 classes")


def test_the_fingerprint_covers_both_sides():
    first, second = data(), data()
    assert first.splits.fingerprint == second.splits.fingerprint
    other = data(dataset__noise=0.5)
    assert first.splits.fingerprint["content"]["values"] != other.splits.fingerprint["content"]["values"]
    assert len(first.splits.fingerprint["content"]["values"]) == 2 * 3
    assert first.state_dict()["inputs"] == {"shape": [3, 5], "files": False, "sides": ["audio", "visual"]}


def test_chunks_are_of_pairs():
    """A batch that is embedded in chunks waits as pairs, of which any number can be read."""
    from types import SimpleNamespace

    found = data()
    found.convert_late = True
    found.trainer = SimpleNamespace(
        training=True, precision_plugin=SimpleNamespace(convert_input=lambda x: x), global_rank=0, world_size=1
    )
    batch = (found.splits.train.fetch(torch.arange(4)), torch.zeros(8, dtype=torch.int64), torch.zeros(8).long())
    late, *_ = found.on_after_batch_transfer(batch, 0)
    assert isinstance(late, LateInputs)
    assert len(late) == 4
    assert torch.equal(late.first(3).second, batch[0].second[:3])


def test_what_is_for_images_is_refused():
    with pytest.raises(InputError, match=r"^sampler\.views=2: .* nothing random to augment in vectors"):
        data(augmentation="crop_flip", sampler__views=2)
    cfg = config("paired_synthetic")
    cfg.augmentation = {"_target_": "own_parts.Jitter", "name": "jitter"}
    with pytest.raises(
        InputError, match=r"^the augmentation Jitter is given one image or vector, and the data are pai"
    ):
        data_of(plain(cfg))
    backbone = {"name": "two_tower", "freeze": True, "cache_features": True, "mean": None}
    with pytest.raises(InputError, match=r"^backbone.cache_features=true: features of pairs are not kept"):
        data(backbone=backbone)
    assert data(backbone={**backbone, "cache_features": "auto"}).embedding is None
    with pytest.raises(InputError, match=r"^evaluation.distractors are images"):
        data(evaluation__distractors="photos")


def test_an_audit_takes_a_pair_for_one_example():
    part = data().splits.test
    found = read(part)
    assert torch.equal(found.signatures, torch.cat([part.inputs.first, part.inputs.second], 1))
    assert len(set(found.stored)) == len(part)
