"""Trials on folds: what they measure, when they end early, and which folds are refused."""

import logging

import pytest
import torch
from tiny_runs import COMPOSER, TINY

import metriscope.build.network
import metriscope.fair.folds
from metriscope.config.rules import check
from metriscope.errors import InputError, RunError
from metriscope.evaluation.monitors import Monitor
from metriscope.fair.folds import look, trial

GOAL = Monitor("val/map_at_r", "max")


def config(*words):
    return check(COMPOSER([*TINY, "trainer.max_epochs=1", *words]))


def test_a_trial_is_a_function_of_its_config_and_leaves_no_trace(quick_trainer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, again = (trial(config(), 2, GOAL, None, None) for _ in range(2))
    assert first.status == "complete", first.reason
    assert first.folds == again.folds
    assert first.value == pytest.approx(sum(first.folds) / 2)
    assert all(0 < value < 1 for value in first.folds)
    assert first.steps == 3
    assert not list(tmp_path.iterdir())


def test_a_frozen_trunk_is_built_once_for_all_folds(quick_trainer, monkeypatch):
    built = []
    real = metriscope.build.network.build_trunk
    monkeypatch.setattr(metriscope.build.network, "build_trunk", lambda *args: (built.append(args), real(*args))[1])
    frozen = config("backbone.freeze=true", "seed=7")
    kept = trial(frozen, 2, GOAL, None, None)
    assert (kept.status, len(built)) == ("complete", 1)
    monkeypatch.setattr(metriscope.fair.folds, "_leaves_trunks_alone", lambda config: False)
    assert trial(frozen, 2, GOAL, None, None).folds == kept.folds


def test_a_fold_never_sees_the_test_half():
    splits = metriscope.fair.folds._splits(config(), 0, 2)
    assert splits.test is splits.validation
    assert len(splits.train) == len(splits.validation) == 50


def test_a_trial_that_clearly_loses_ends_early(monkeypatch):
    values = iter([(0.5, 4), (0.4, 2), (0.46, 4), (0.44, 4), (0.6, 4), (0.5, 4), (0.5, 4), (0.5, 4)])
    monkeypatch.setattr(metriscope.fair.folds, "_fit", lambda *args: next(values))
    monkeypatch.setattr(metriscope.fair.folds, "_splits", lambda *args: None)
    # 0.5 is no more than a tenth below 0.55; 0.45 on average is more than that below 0.525.
    found = trial(config(), 3, GOAL, (0.55, 0.5, 0.5), 0.1)
    assert (found.folds, found.value, found.status, found.steps) == ((0.5, 0.4), None, "pruned", 3)
    # The last fold ends the trial in any case.
    found = trial(config(), 2, GOAL, (0.5, 0.6), 0.1)
    assert (found.status, found.value) == ("complete", pytest.approx(0.45))
    found = trial(config(), 2, Monitor("val/loss", "min"), (0.5, 0.6), 0.1)
    assert (found.folds, found.status) == ((0.6,), "pruned")
    assert trial(config(), 3, GOAL, (0.9, 0.9, 0.9), None).status == "complete"


def test_a_fold_that_fails_fails_the_trial_and_a_full_disk_the_study(monkeypatch):
    def fail(*args):
        raise RunError("loss not finite")

    monkeypatch.setattr(metriscope.fair.folds, "_fit", fail)
    found = trial(config(), 2, GOAL, None, None)
    assert (found.folds, found.value, found.status, found.steps) == ((), None, "failed", None)
    assert found.reason == "RunError: loss not finite"

    def full(*args):
        raise OSError(28, "No space left on device", "/features")

    monkeypatch.setattr(metriscope.fair.folds, "_fit", full)
    with pytest.raises(RunError, match="features"):
        trial(config(), 2, GOAL, None, None)


def test_data_are_looked_at_once():
    found = look([config("loss=triplet"), config("loss=arcface"), config("head=identity", "head.size=null")], 2)
    assert list(found.learns) == [
        {"head": True, "loss": False},
        {"head": True, "loss": True},
        {"head": False, "loss": False},
    ]
    assert found.content["parts"] == {"train": [100, 5], "test": [100, 5]}


def test_what_is_said_of_the_data_is_said_once(monkeypatch, caplog):
    real = metriscope.fair.folds.load_splits

    def load(*args, **keys):
        logging.getLogger("metriscope.data").warning("an image is missing, said the %s", "list")
        return real(*args, **keys)

    monkeypatch.setattr(metriscope.fair.folds, "load_splits", load)
    metriscope.fair.folds._kept.cache_clear()
    for _ in range(2):
        look([config()], 3)
    assert [record.getMessage() for record in caplog.records] == ["an image is missing, said the list"]
    logging.getLogger("metriscope.data").warning("an image is missing, said the list")
    assert len(caplog.records) == 2, "others say it as often as they like"


@pytest.mark.parametrize(
    ("words", "folds", "said"),
    [
        (["dataset.per_class=3"], 3, "folds=3: fold 0 leaves class 'class 0' with 1 of its samples in the held-out"),
        (
            ["dataset.per_class=3"],
            4,
            "cannot be made of these data (dataset.validation=0.25 of 15 images in 5 classes",
        ),
        (
            ["dataset.protocol=class_disjoint"],
            4,
            "of these data (dataset.validation=0.25 holds out 2 of 3 train",
        ),
    ],
)
def test_folds_that_leave_a_class_alone_are_refused(words, folds, said):
    with pytest.raises(InputError, match="fold") as caught:
        look([config(*words)], folds)
    assert said in str(caught.value)


def test_classes_are_whole_in_disjoint_folds():
    cfg = config("dataset.protocol=class_disjoint", "dataset.classes=12")
    parts = [metriscope.fair.folds._splits(cfg, fold, 3) for fold in range(3)]
    held_out = [set(part.validation.classes) for part in parts]
    assert set.union(*held_out) == {f"class {number}" for number in range(6)}
    assert sum(map(len, held_out)) == 6
    for part in parts:
        assert set(part.train.classes).isdisjoint(part.validation.classes)
        assert int(torch.bincount(part.validation.labels).min()) >= 2
