"""Batches that hold several augmentations of each drawn image, and images as classes of their own."""

import json
import os

import pytest
import torch
from batches import Recorder, config, trainer
from forks import DDP, on_ranks, started
from image_runs import EXACT, followed, images, learn_alike  # noqa: F401
from interruptions import goes_on_alike
from PIL import Image
from tiny_runs import COMPOSER

from metriscope.app import train
from metriscope.build.run import data_of
from metriscope.callbacks.finite import BatchGuard
from metriscope.config.plain import plain
from metriscope.config.rules import check
from metriscope.data.batch_dataset import BatchDataset
from metriscope.data.examples import Examples
from metriscope.data.inputs.features import KeptFeatures, ViewsInTurn
from metriscope.data.inputs.images import ImageFiles
from metriscope.errors import InputError
from metriscope.models.network import Features
from metriscope.run.identity import identity

V = 2


@pytest.mark.parametrize(("sampler", "by"), [("class_balanced", "class"), ("shuffle", "image")])
def test_each_drawn_image_is_there_in_so_many_augmentations(tmp_path, sampler, by):
    words = {"sampler": sampler, "sampler__batch_size": 100, "sampler__labels": by}
    data = data_of(plain(config("digits", "crop_flip", **words, sampler__views=V)))
    drawn = list(data.train_batch_sampler)
    model, true = Recorder(), data.splits.train.labels
    trainer(tmp_path, max_epochs=1).fit(model, data)
    assert [index for _, index, _ in model.seen["train"]] == [[i for i in batch for _ in range(V)] for batch in drawn]
    _, index, inputs = model.seen["train"][0]
    pairs = inputs.view(-1, V, *inputs.shape[1:])
    assert (pairs[:, 0] != pairs[:, 1]).flatten(1).any(1).float().mean() > 0.9, "each is augmented on its own"
    _, labels, index = next(iter(data.train_dataloader()))
    assert torch.equal(labels, index if by == "image" else true[index])
    _, index, inputs = model.seen["val"][0]
    assert len(set(index)) == len(index)
    assert torch.equal(next(iter(data.val_dataloader()))[1], data.splits.validation.labels[index])


def test_one_view_is_a_run_without_the_key(tmp_path):
    models = []
    for words in ({}, {"sampler__views": 1, "sampler__labels": "class"}):
        models.append(Recorder())
        data = data_of(plain(config("digits", "crop_flip", sampler__batch_size=400, **words)))
        trainer(tmp_path, max_epochs=1).fit(models[-1], data)
    for (_, index, inputs), (_, other, others) in zip(*(model.seen["train"] for model in models), strict=True):
        assert index == other
        assert torch.equal(inputs, others)


def test_identity_goes_by_more_than_one_view():
    base = plain(config("digits"))
    said = {views: identity(with_sampler(base, views=views)) for views in (None, 1, 2)}
    assert said[None] == said[1] == identity(without(base, "views")) != said[2]
    of_labels = {labels: identity(with_sampler(base, labels=labels)) for labels in (None, "class", "image")}
    assert of_labels[None] == of_labels["class"] == said[1] != of_labels["image"]


def with_sampler(base, **keys):
    return {**base, **NAMES, "sampler": {**base["sampler"], **keys}}


def without(base, key):
    return {**base, **NAMES, "sampler": {name: value for name, value in base["sampler"].items() if name != key}}


NAMES = {"backbone": {"name": "mlp"}, "loss": {"name": "triplet"}, "miner": {"name": "all"}, "evaluation": {}}


def test_fixed_views_take_turns_and_differ_within_a_batch(tmp_path):
    words = {"sampler__batch_size": 800, "sampler__views": V, "augmentation__views": 3}
    data = data_of(plain(config("digits", "crop_flip", **words)))
    model = Recorder()
    trainer(tmp_path, max_epochs=2).fit(model, data)
    train_images = data.splits.train.inputs
    for epoch, index, inputs in model.seen["train"]:
        rows = torch.tensor(index[::V])
        for place in range(V):
            numbers = data.serving.numbers((epoch * V + place) % 3)[rows]
            wanted = data.augmentation(data.augmentation.plan(train_images[rows], numbers))
            assert torch.equal(inputs[place::V], wanted)


def test_kept_features_of_several_views_stand_side_by_side():
    kept = [KeptFeatures(torch.arange(3.0)[:, None] + 10 * view, torch.arange(3)) for view in range(3)]
    examples = Examples(ViewsInTurn(kept, lambda: [2, 0]), torch.tensor([0, 1, 1]), ("a", "b"))
    inputs, labels, index = BatchDataset(examples, V)[[2, 0]]
    assert isinstance(inputs, Features)
    assert inputs.values[:, 0].tolist() == [22, 2, 20, 0]
    assert (labels.tolist(), index.tolist()) == ([1, 1, 0, 0], [2, 2, 0, 0])


def test_a_file_is_decoded_once_for_all_its_views(tmp_path, monkeypatch):
    for i in range(2):
        Image.new("RGB", (4, 4), (i, i, i)).save(tmp_path / f"{i}.png")
    files = ImageFiles(tuple(str(tmp_path / f"{i}.png") for i in range(2)), (4, 4))
    read, fetch = [], ImageFiles.fetch
    monkeypatch.setattr(ImageFiles, "fetch", lambda self, indices: read.extend(indices) or fetch(self, indices))
    inputs, labels, _ = BatchDataset(Examples(files, torch.tensor([0, 1]), ("a", "b")), V, by_image=True)[[1, 0]]
    assert inputs[:, 0, 0, 0].tolist() == [1, 1, 0, 0]
    assert labels.tolist() == [1, 1, 0, 0]
    assert [int(i) for i in read] == [1, 0]


def test_views_of_an_image_are_told_from_its_class(images, monkeypatch):  # noqa: F811
    seen = []

    def look(self, trainer, module, loss):
        comparison = module.step.comparison
        positive, twins = comparison.positive, comparison.same_image
        labels, index = comparison.anchors.labels, comparison.anchors.index
        assert torch.equal(comparison.same_image_of(slice(3, 7)), twins[3:7])
        assert twins.sum(1).tolist() == [V - 1] * len(index)
        seen.append((torch.equal(positive, twins), bool((positive | ~twins).all()), torch.equal(labels, index)))

    monkeypatch.setattr(BatchGuard, "on_before_backward", look, raising=False)
    for labels in ("class", "image"):
        train(images(*SELF, f"sampler.labels={labels}", "trainer.limit_train_batches=1", "trainer.max_epochs=1"))
    assert seen == [(False, True, False), (True, True, True)]


SELF = (f"sampler.views={V}", "sampler.samples_per_class=3", "loss=infonce", "backbone.freeze_batch_norm=true")


def test_every_kind_of_loss_learns_from_views_alone(images):  # noqa: F811
    for loss in ("triplet", "sogclr", "mann_whitney"):
        words = ("trainer.limit_train_batches=1", "trainer.max_epochs=1", "sampler.labels=image", f"loss={loss}")
        _, rows = followed(images, f"sampler.views={V}", *words)
        assert next(row["train/loss"] for row in rows if "train/loss" in row) > 0


def test_views_in_chunks_learn_what_they_learn_without(images):  # noqa: F811
    words = (*EXACT, *SELF, "sampler.labels=image", "trainer.max_epochs=1", "trainer.limit_train_batches=2")
    learn_alike(followed(images, *words, "trainer.embed_chunk=5"), followed(images, *words))


def test_a_stopped_run_of_views_goes_on_as_if_nothing_had_happened(images, watch):  # noqa: F811
    words = (*SELF, "sampler.labels=image", "memory.size=30", "trainer.limit_train_batches=5")
    goes_on_alike(images, watch, *words)


@pytest.mark.processes
def test_two_processes_divide_the_batches_of_one(images, tmp_path):  # noqa: F811
    cfg = images(*EXACT, *SELF, *DDP, "sampler.labels=image", "trainer.max_epochs=1", "trainer.limit_train_batches=2")

    def work():
        outcome = train(cfg)
        rank, sampler = os.environ["RANK"], outcome.data.train_batch_sampler
        sampler.set_epoch(0)
        (tmp_path / f"{rank}.json").write_text(json.dumps(list(sampler)))
        torch.save(outcome.module.state_dict(), tmp_path / f"{rank}.pt")

    on_ranks(work, ready=started(cfg))
    shares = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    alone = list(data_of(plain(cfg)).train_batch_sampler)
    assert [shares[k % 2][k // 2] for k in range(len(alone))] == alone
    weights = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("sampler.views=0", "sampler.views=0: it has to be a whole number of at least 1"),
        ("sampler.labels=none", "sampler.labels=none: it has to be one of class, image"),
        ("sampler.views=2", "sampler.views=2: the views of an image would be alike, as there is nothing random to aug"),
        ("sampler.labels=image", "sampler.labels=image: an image alone has nothing of its class to be compared with;"),
        (
            "augmentation=crop_flip augmentation.views=2 sampler.views=3",
            "sampler.views=3 with augmentation.views=2: some views of an image would be alike; set augmentation.vie",
        ),
        (
            "augmentation=crop_flip sampler.views=2 sampler.labels=image loss=arcface",
            "sampler.labels=image does not go with loss=arcface, which learns something for each class",
        ),
        (
            "augmentation=crop_flip sampler.views=2 sampler.labels=image dataset.label_noise=0.1",
            "sampler.labels=image trains without the labels that dataset.label_noise changes: leave one of them out",
        ),
        ("augmentation=crop_flip sampler.views=2 sampler.labels=image loss=margin loss.beta_per_class=false", None),
        ("augmentation=torchvision augmentation.size=8 sampler.views=2", None),
        ("sampler=shuffle augmentation=crop_flip augmentation.views=2 sampler.views=2", None),
    ],
)
def test_what_does_not_go_with_views_is_refused(words, line):
    cfg = COMPOSER(["dataset=digits", "augmentation=none", "logger=none", *words.split()])
    if line is None:
        check(cfg)
        return
    with pytest.raises(InputError) as caught:
        check(cfg)
    assert str(caught.value).startswith(line)


def test_vectors_have_no_views(tiny):
    words = ("augmentation=crop_flip", "sampler.views=2")
    with pytest.raises(InputError, match=r"^sampler\.views=2: .* nothing random to augment in vectors; choose an aug"):
        data_of(plain(tiny(*words)))
    cfg = config("synthetic", dataset__per_class=30, dataset__dimension=8, sampler__views=2)
    cfg.augmentation = {"_target_": "own_parts.Jitter", "name": "jitter"}
    data_of(plain(cfg))
