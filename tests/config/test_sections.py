"""Samplers, schedules, augmentations and optimizers are judged by their own annotations, wherever they come from."""

import math

import pytest
from tiny_runs import COMPOSER

from metriscope.config.files import choices
from metriscope.config.plain import plain
from metriscope.config.rules import check
from metriscope.config.sections import SECTIONS, check_sections
from metriscope.errors import InputError

GROUPS = ("sampler", "scheduler", "augmentation")
CHOICES = [(group, choice) for group in GROUPS for choice in choices(group)]
# Keys with rules of their own, which are in config/monitors.py, config/keys.py and config/views.py.
RULED = ("monitor", "mode", "views", "labels")


def refusal(config):
    with pytest.raises(InputError) as caught:
        check_sections(config)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_every_argument_refuses_what_it_is_not(group, choice):
    config = plain(COMPOSER([f"{group}={choice}"]))
    keys = [key for key in config[group] if key not in ("_target_", "name", *RULED)]
    assert keys
    for key in keys:
        for wrong in ("many", math.nan, {"a": 1}, -1, "no"):
            line = refusal({**config, group: {**config[group], key: wrong}})
            assert line.startswith(f"{group}.{key}={wrong}: it has to be "), line
    line = refusal({**config, group: {**config[group], f"{keys[0]}x": 1}})
    assert line.startswith(f"{group}.{keys[0]}x: ")
    assert line.endswith(f"takes no such argument; did you mean '{keys[0]}'?")


@pytest.mark.parametrize("choice", choices("optimizer"))
def test_an_optimizer_takes_what_that_of_torch_takes(choice):
    config = plain(COMPOSER([f"optimizer={choice}"]))
    check_sections({**config, "optimizer": {**config["optimizer"], "foreach": False, "maximize": True}})
    line = refusal({**config, "optimizer": {**config["optimizer"], "maximise": True}})
    assert line.startswith("optimizer.maximise: ")
    assert line.endswith(" takes no such argument; did you mean 'maximize'?")
    assert refusal({**config, "optimizer": {**config["optimizer"], "maximize": "no"}}) == (
        "optimizer.maximize=no: it has to be true or false"
    )


@pytest.mark.parametrize("key", ["seed", "rank", "world_size"])
def test_what_the_run_knows_is_not_given(key):
    config = plain(COMPOSER([]))
    line = refusal({**config, "sampler": {**config["sampler"], key: 1}})
    assert line == f"sampler.{key}: the run itself knows it: leave it out"


def test_a_batch_shape_that_a_data_set_recommends_is_for_samplers_that_have_one():
    config = plain(COMPOSER(["dataset=cub", "sampler=shuffle"]))
    assert config["sampler"]["samples_per_class"] == 2
    check_sections(config)
    assert SECTIONS["sampler"].arguments(config["sampler"]).keys() == {"_target_", "name", "batch_size"}
    balanced = plain(COMPOSER(["dataset=cub"]))["sampler"]
    arguments = {key: value for key, value in balanced.items() if key not in ("views", "labels")}
    assert SECTIONS["sampler"].arguments(balanced) == arguments


@pytest.mark.parametrize(
    "section",
    [
        {"_target_": "torch.optim.lr_scheduler.ExponentialLR", "gamma": 0.9},
        {"_target_": "torch.optim.lr_scheduler.CyclicLR", "base_lr": 0.1, "max_lr": 0.2, "mode": "triangular"},
        {"_target_": "torch.optim.lr_scheduler.OneCycleLR", "max_lr": 0.2},
        {"_target_": "torch.optim.lr_scheduler.ReduceLROnPlateau", "monitor": None, "mode": None},
        {"_target_": "own_parts.falling", "rate": 0.9},
    ],
    ids=lambda section: section["_target_"],
)
def test_schedules_of_torch_and_of_ones_own(section):
    check_sections({**plain(COMPOSER([])), "scheduler": {"name": "own", **section}})


@pytest.mark.parametrize(
    ("scheduler", "line"),
    [
        ("torch.optim.lr_scheduler.ExponentialLR", "scheduler.gamma: ExponentialLR needs a value for it"),
        ("torch.optim.Adam", "scheduler.optimizer: Adam takes no such argument"),
    ],
)
def test_a_schedule_that_cannot_be(scheduler, line):
    assert refusal({**plain(COMPOSER([])), "scheduler": {"name": "own", "_target_": scheduler}}).startswith(line)


@pytest.mark.parametrize(("group", "base"), [("sampler", "BatchSampler"), ("augmentation", "Augmentation")])
def test_a_part_is_derived_from_the_class_that_says_what_it_does(group, base):
    config = plain(COMPOSER([]))
    line = refusal({**config, group: {**config[group], "_target_": "own_parts.falling"}})
    assert line.startswith(f"{group}._target_=own_parts.falling: it has to be a subclass of metriscope.data.")
    assert line.endswith(f".{base}")


def test_a_schedule_that_goes_by_a_metric_needs_one():
    own = {"name": "own", "_target_": "torch.optim.lr_scheduler.ReduceLROnPlateau", "monitor": None}
    for words, line in (
        (["dataset.validation=0"], "scheduler=own watches the validation set"),
        (["evaluation.every_n_epochs=2"], "scheduler=own looks at every epoch"),
    ):
        cfg = COMPOSER(words)
        cfg.scheduler = own
        with pytest.raises(InputError, match=line):
            check(cfg)
