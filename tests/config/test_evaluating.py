"""What the config of an evaluation takes from a run, and what from the words."""

import pytest
from tiny_runs import COMPOSER

from metriscope.config.evaluating import of_pretrained, of_run
from metriscope.config.plain import plain

RUN = ("dataset=digits", "loss=contrastive", "miner=hard", "trainer=cpu", "trainer.max_epochs=7", "logger=wandb")


@pytest.fixture
def config():
    return plain(COMPOSER(RUN))


def test_a_run_stays_as_it_is(config):
    found = of_run(config, [])
    assert found["logger"]["wandb"].pop("name") == "contrastive-hard-seed0-evaluated"
    assert config["logger"]["wandb"].pop("name") == "contrastive-hard-seed0"
    for key in config:
        assert key in ("evaluation", "sweep") or found[key] == config[key], key
    assert found["evaluation"]["monitor"] == config["evaluation"]["monitor"]


def test_other_data_are_prepared_as_those_of_the_run(config):
    found = of_run(config, ["dataset=mnist", "paths.data_dir=elsewhere"])
    dataset = found["dataset"]
    assert (dataset["name"], dataset["mean"], dataset["std"]) == ("mnist", [0.305], [0.376])
    assert (dataset["data_dir"], found["paths"]["cache_dir"]) == ("elsewhere", "elsewhere/.cache")
    assert found["logger"]["wandb"]["group"] == "mnist/small_cnn"
    for key in ("backbone", "augmentation", "sampler", "loss", "trainer"):
        assert found[key] == config[key], "and brings no companions"
    given = of_run(config, ["dataset=mnist", "dataset.mean=[0.5]"])["dataset"]
    assert (given["mean"], given["std"]) == ([0.5], [0.376])


def test_a_choice_keeps_what_says_how_the_run_was_trained(config):
    found = of_run(config, ["trainer=gpu", "trainer.devices=2", "evaluation=default", "logger=files"])
    assert found["trainer"]["max_epochs"] == 7
    assert (found["trainer"]["name"], found["trainer"]["devices"]) == ("gpu", 2)
    assert found["logger"]["wandb"] is None


def test_metrics_are_switched_as_in_training(config):
    found = of_run(config, ["evaluation.metrics.clustering=true", "evaluation.metrics.map_at_r=false"])
    metrics = found["evaluation"]["metrics"]
    assert metrics["clustering"]["_target_"].endswith("Clustering")
    assert metrics["map_at_r"] is None


def test_a_run_of_an_earlier_version_lacks_later_keys(config):
    del config["evaluation"]["per_class"], config["init"], config["compile"], config["references"], config["tags"]
    found = of_run(config, [])
    assert found["evaluation"]["per_class"] is False
    assert (found["init"], found["compile"]) == (None, False)


def test_text_that_looks_like_an_interpolation_stays_text(config):
    found = of_run({**config, "tags": ["${oc.env:HOME}"]}, [])
    assert found["tags"] == ["${oc.env:HOME}"]


def test_a_pretrained_trunk_has_no_section_of_training():
    found = of_pretrained(["dataset=mnist", "backbone=resnet18", "backbone.weights=mine.pth", "logger=wandb"])
    assert (found["loss"], found["miner"], found["head"]["name"]) == (
        {"name": "zero-shot"},
        {"name": "none"},
        "identity",
    )
    assert found["logger"]["wandb"]["name"] == "zero-shot-none-seed0"
    assert not {"optimizer", "scheduler", "sampler", "callbacks", "distance"} & found.keys()
    assert "max_epochs" not in found["trainer"]
    assert "monitor" not in found["evaluation"]
