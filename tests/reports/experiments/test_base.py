import itertools
import math

import pytest

from metriscope.config.compose import compose_config
from metriscope.config.files import choices
from metriscope.config.rules import check
from metriscope.data.datasets.cars196 import ARCHIVES
from metriscope.reports.claims import Claim
from metriscope.reports.experiments import EXPERIMENTS, Data
from metriscope.reports.experiments.base import CARS
from metriscope.reports.history_metrics import COURSE


@pytest.mark.parametrize("scale", ["full", "laptop"])
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_run_of_a_study_composes(name, scale):
    experiment = EXPERIMENTS[name]
    budgets, first = set(), True
    met = {data.title: set() for data in experiment.data}
    for sweep in experiment.sweeps:
        words = [[f"{key}={value}" for value in values] for key, values in sweep.items()]
        for settings, data in itertools.product(itertools.product(*words), experiment.data):
            # Every setting meets the first data set, and every value of a setting each of them.
            if data is not experiment.data[0] and met[data.title].issuperset(settings):
                continue
            met[data.title].update(settings)
            further = data.overrides(scale == "laptop")
            # Every setting meets the first choice, and the first settings every choice.
            for choice in data.choices if first else [*data.choices][:1]:
                head = [f"experiment={experiment.config}", f"scale={scale}", f"dataset={choice}"]
                cfg = compose_config([*head, *settings, *further])
                check(cfg)
                epochs = cfg.trainer.max_epochs
                size = "swept" if "head.size" in sweep else cfg.head.size
                budgets.add((choice, cfg.dataset.name, size, cfg.backbone.name, cfg.optimizer.lr, epochs))
            first = first and data is not experiment.data[-1]
    assert len(budgets) == sum(len(data.choices) for data in experiment.data), "settings are compared at one budget"


def test_losses_alone_can_be_tuned_on_short_runs():
    assert [name for name, one in EXPERIMENTS.items() if one.losses] == [
        "contrastive_vs_triplet",
        "variance_greediness",
    ]
    paper = EXPERIMENTS["contrastive_vs_triplet"]
    for data in paper.data:
        assert data.overrides(False, tuned=True) == data.overrides(False)
        if data.tuned is not None:
            head = [f"experiment={paper.config}", "scale=laptop", f"dataset={[*data.choices][-1]}", "loss=triplet"]
            cfg = compose_config([*head, *data.overrides(True, tuned=True)])
            check(cfg)
            assert cfg.dataset.train_share < 1
            # Enough epochs for the course of a run.
            assert cfg.trainer.max_epochs >= 10


@pytest.mark.parametrize("experiment", EXPERIMENTS.values(), ids=EXPERIMENTS)
def test_claims_speak_of_what_the_study_has(experiment):
    tabled = {metric for metrics in experiment.tables.values() for metric in metrics}
    for statement in itertools.chain(*(claim.statements for claim in experiment.claims)):
        for metric in statement.metrics:
            assert metric in tabled
            assert metric in COURSE or metric.startswith(("test/", "train/"))
        for cell in statement.cells:
            # One group each: a cell says what is swept, and nothing that no sweep has.
            assert any(_is_group(cell, sweep) for sweep in experiment.sweeps), (statement.text, cell)
    assert [claim.number for claim in experiment.claims] == sorted(claim.number for claim in experiment.claims)
    assert all(isinstance(claim, Claim) and claim.source in experiment.source for claim in experiment.claims)
    for key, values in experiment.swept.items():
        assert "." in key or set(values) <= set(choices(key))
    assert experiment.baseline.keys() <= set(experiment.by)


def _is_group(cell, sweep):
    said = {key if "." in key else f"{key}.name": values for key, values in sweep.items() if len(values) > 1}
    texts = {key: "null" if value is None else str(value) for key, value in cell.items()}
    fixed = {key if "." in key else f"{key}.name": values[0] for key, values in sweep.items() if len(values) == 1}
    return said.keys() <= cell.keys() and all(
        value in said[key] if key in said else fixed.get(key) == value for key, value in texts.items()
    )


def test_groups_are_separated_by_data_set_and_settings():
    assert EXPERIMENTS["contrastive_vs_triplet"].by == ["dataset.name", "loss.name"]
    assert EXPERIMENTS["label_noise"].by == [
        "dataset.name", "dataset.label_noise", "loss.name", "weighting.name", "weighting.hard",
    ]  # fmt: skip


def test_the_first_choice_that_is_there_is_taken(tmp_path):
    data = Data("x", {"first": ["a/raw"], "second": ["b", "c"]})
    assert data.at_hand(tmp_path) is None
    (tmp_path / "c").mkdir()
    assert data.at_hand(tmp_path) == "second"
    (tmp_path / "a" / "raw").mkdir(parents=True)
    assert data.at_hand(tmp_path) == "first"
    assert Data("y", {"embedded": []}).at_hand(tmp_path) == "embedded"


def test_a_laptop_learns_cars_from_features_of_the_half_that_is_there():
    assert set(CARS.choices["cars196"]) == set(ARCHIVES)
    for name in ("contrastive_vs_triplet", "variance_greediness"):
        words = [f"experiment={EXPERIMENTS[name].config}", "loss=triplet", "scale=laptop", "dataset=cars196"]
        cfg = compose_config([*words, *CARS.laptop])
        assert (cfg.backbone.freeze, cfg.backbone.weights, cfg.augmentation.name) == (True, "imagenet", "none")
        assert not cfg.dataset.verify
        assert cfg.trainer.max_epochs < 100
        assert math.isfinite(cfg.dataset.image_size)
