import pytest
import torch
from batches import CONFIGS, Recorder, config, trainer
from omegaconf import OmegaConf
from PIL import Image
from pytorch_lightning.callbacks import Callback

from metriscope.build.run import data_of
from metriscope.config.plain import plain
from metriscope.errors import InputError, RunError


def test_digits_batches():
    data = data_of(plain(config("digits")))
    assert data.input_shape == (1, 8, 8)
    assert (data.num_classes, data.protocol) == (10, "closed_set")
    loader = data.train_dataloader()
    batches = list(loader)
    assert len(batches) == len(loader)
    for inputs, labels, index in batches:
        assert (inputs.dtype, labels.dtype, index.dtype) == (torch.uint8, torch.int64, torch.int64)
        assert torch.equal(inputs, data.splits.train.inputs[index])
        assert torch.equal(labels, data.splits.train.labels[index])
        assert labels.bincount().tolist() == [10] * 10
    for loader, part in [
        (data.train_eval_dataloader(), data.splits.train),
        (data.val_dataloader(), data.splits.validation),
        (data.test_dataloader(), data.splits.test),
        (data.predict_dataloader(), data.splits.train),
    ]:
        assert torch.cat([batch[2] for batch in loader]).tolist() == list(range(len(part)))
    inputs, labels, index = data.on_after_batch_transfer(batches[0], 0)
    assert inputs.dtype == torch.float32
    assert abs(float(inputs.mean())) < 0.3


def test_every_data_set_config_names_its_companions():
    for file in (CONFIGS / "dataset").glob("*.yaml"):
        text = file.read_text()
        assert text.startswith("# @package _global_\n# ")
        content = OmegaConf.create(text)
        assert content.dataset.name == file.stem
        assert [next(iter(entry)) for entry in content.defaults] == [
            "override /backbone",
            "override /augmentation",
        ]


def test_synthetic_vectors_pass_through():
    data = data_of(plain(config("synthetic", "crop_flip", dataset__per_class=20, dataset__dimension=6)))
    batch = next(iter(data.train_dataloader()))
    assert data.input_shape == (6,)
    assert torch.equal(data.on_after_batch_transfer(batch, 0)[0], batch[0])


def test_validation_batches_are_fixed_and_adapted():
    first = data_of(plain(config("digits", sampler__samples_per_class=100, sampler__classes_per_batch=10)))
    second = data_of(plain(config("digits", sampler__samples_per_class=100, sampler__classes_per_batch=10, seed=9)))
    batches = first.validation_batches()
    assert [batch.tolist() for batch in batches] == [batch.tolist() for batch in second.validation_batches()]
    assert set(torch.cat(batches).tolist()) == set(range(len(first.splits.validation)))
    assert next(iter(first.train_batch_sampler)) != next(iter(second.train_batch_sampler))
    without = data_of(plain(config("digits", sampler="shuffle", dataset__validation=0)))
    assert without.validation_batches() == []
    assert without.val_dataloader() == []


def test_fit_augments_training_only_and_tells_the_sampler_the_epoch(tmp_path):
    data = data_of(plain(config("digits", "crop_flip", sampler__batch_size=400)))
    model = Recorder()
    trainer(tmp_path, max_epochs=2).fit(model, data)
    data.train_batch_sampler.set_epoch(1)
    assert [index for epoch, index, _ in model.seen["train"] if epoch == 1] == list(data.train_batch_sampler)
    for _, index, inputs in model.seen["val"]:
        assert torch.equal(inputs, data.augmentation(data.splits.validation.inputs[index]))
    _, index, inputs = model.seen["train"][0]
    assert not torch.equal(inputs, data.augmentation(data.splits.train.inputs[index]))
    assert not torch.equal(model.seen["train"][0][2], model.seen["train"][1][2])


def test_an_augmentation_gives_every_example(tmp_path, monkeypatch):
    data = data_of(plain(config("digits")))
    monkeypatch.setattr(data.augmentation, "plan", lambda inputs, numbers: inputs[:3])
    with pytest.raises(RunError, match=r"^the augmentation Augmentation gives 3 of \d+ examples: it has to give all$"):
        trainer(tmp_path).fit(Recorder(), data)


class StopAfter(Callback):
    def __init__(self, step, path):
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)


@pytest.mark.parametrize("source", ["memory", "files", "own parts", "torchvision"])
@pytest.mark.parametrize("step", [2, 4, 5, 6])
@pytest.mark.filterwarnings("error:You're resuming")
def test_a_resumed_run_goes_on_with_the_same_batches(tmp_path, source, step):
    """Stopped within and at the end of an epoch of three batches; from memory, through workers, with other parts."""
    if source == "files":
        for i in range(40):
            (tmp_path / f"{i % 2}").mkdir(exist_ok=True)
            Image.new("RGB", (8, 8), (i, i, i)).save(tmp_path / f"{i % 2}" / f"{i}.png")
        changes = {"dataset__path": str(tmp_path), "dataset__memory_limit_mb": 0, "dataset__image_size": 8}
        changes |= {"dataset__cache": "none", "dataset__num_workers": 1}
        cfg = config("folder", "crop_flip", **changes, sampler__batch_size=10)
    elif source == "own parts":
        cfg = config("synthetic", dataset__per_class=30, dataset__dimension=8, sampler__batch_size=90)
        cfg.sampler._target_ = "own_parts.Drawn"
        cfg.augmentation = {"_target_": "own_parts.Jitter", "name": "jitter"}
    elif source == "torchvision":
        entries = [{"name": "RandomCrop", "size": 8, "padding": 1}, {"name": "RandomInvert"}]
        changes = {"augmentation__transforms": entries, "augmentation__size": None}
        cfg = config("digits", "torchvision", sampler__batch_size=400, **changes)
    else:
        cfg = config("digits", "crop_flip", sampler__batch_size=400)
    checkpoint = tmp_path / "a.ckpt"
    whole, rest = Recorder(), Recorder()
    trainer(tmp_path, max_epochs=3, callbacks=[StopAfter(step, checkpoint)]).fit(whole, data_of(plain(cfg)))
    trainer(tmp_path, max_epochs=3).fit(rest, data_of(plain(cfg)), ckpt_path=checkpoint, weights_only=True)
    assert len(whole.seen["train"]) == 9
    assert len(rest.seen["train"]) == 9 - step
    for (_, index, inputs), (_, other, others) in zip(whole.seen["train"][step:], rest.seen["train"], strict=True):
        assert index == other
        assert torch.equal(inputs, others)


def test_inputs_follow_the_precision_of_the_run(tmp_path):
    data = data_of(plain(config("digits", sampler__batch_size=400)))
    model = Recorder()
    trainer(tmp_path, max_steps=1, precision="64-true").fit(model, data)
    assert model.seen["train"][0][2].dtype == torch.float64


def test_settings_that_do_not_fit_are_refused_before_training():
    for wrong in (
        {"sampler__classes_per_batch": 11},
        {"sampler___target_": "metriscope.data.samplers.Random"},
        {"dataset__mean": [0.1, 0.2, 0.3], "dataset__std": [1, 1, 1]},
        {"evaluation__batch_size": 0},
        {"dataset__protocol": "open"},
        {"dataset__fold": 10},
    ):
        with pytest.raises(InputError):
            data_of(plain(config("digits", **wrong)))


def test_a_run_without_validation(tmp_path):
    data = data_of(plain(config("digits", sampler="shuffle", dataset__validation=0, sampler__batch_size=500)))
    model = Recorder()
    trainer(tmp_path, max_epochs=1).fit(model, data)
    assert sorted(i for _, index, _ in model.seen["train"] for i in index) == list(range(1201))
    assert model.seen["val"] == []
