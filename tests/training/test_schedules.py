import math
from typing import Any

import pytest
import torch
from rates import config, curve
from torch.nn import Parameter
from torch.optim import Optimizer

from metriscope.errors import InputError
from metriscope.training.optimizers import build_optimizer
from metriscope.training.schedules import build_scheduler


def optimizer(lr: float = 1.0) -> Optimizer:
    cfg = config("optimizer", "sgd", lr=lr, lr_head=lr / 10)
    return build_optimizer(
        cfg, {"trunk": [Parameter(torch.ones(1))], "head": [Parameter(torch.ones(1))]} | {"loss": []}
    )


def test_constant_needs_no_scheduler() -> None:
    assert build_scheduler(config("scheduler", "constant"), optimizer(), math.inf, 10, "val/loss") is None


def test_constant_after_a_warm_up_of_part_of_an_epoch() -> None:
    cfg = config("scheduler", "constant", warmup_epochs=0.4)
    entry = build_scheduler(cfg, optimizer(), math.inf, 10, "val/loss")
    assert entry is not None
    assert entry["interval"] == "step"
    assert curve(entry, 6) == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0, 1.0])


def test_cosine_with_warm_up() -> None:
    cfg = config("scheduler", "cosine", warmup_epochs=0.5, min_lr=0.1)
    entry = build_scheduler(cfg, optimizer(2.0), 10, 4, "val/loss")
    assert entry is not None
    assert entry["interval"] == "step"
    expected = [1.0, 2.0] + [2 * (0.1 + 0.9 * (1 + math.cos(math.pi * i / 8)) / 2) for i in range(10)]
    expected[10:] = [0.2, 0.2]
    assert curve(entry, 12) == pytest.approx(expected)
    rates = [group["lr"] for group in entry["scheduler"].optimizer.param_groups]
    assert rates == pytest.approx([0.2, 0.02])


def test_step_schedule_falls_per_epoch() -> None:
    cfg = config("scheduler", "step", step_size=2, gamma=0.5)
    entry = build_scheduler(cfg, optimizer(), 100, 10, "val/loss")
    assert entry is not None
    assert entry["interval"] == "epoch"
    assert curve(entry, 5) == pytest.approx([1.0, 1.0, 0.5, 0.5, 0.25])


@pytest.mark.parametrize(
    ("monitor", "own", "values"),
    [("val/loss", None, [1.0, 1.0, 1.0, 0.5]), ("val/loss", "val/recall_at_1", [0.5, 0.5, 0.5, 1.0])],
)
def test_plateau_falls_when_the_metric_stands_still(monitor: str, own: str | None, values: list[float]) -> None:
    cfg = config("scheduler", "plateau", factor=0.5, patience=1, monitor=own)
    entry = build_scheduler(cfg, optimizer(), 100, 10, monitor)
    assert entry is not None
    assert (entry["interval"], entry["monitor"]) == ("epoch", own or monitor)
    assert curve(entry, 4, values) == pytest.approx([1.0, 1.0, 1.0, 0.5])


@pytest.mark.parametrize(
    ("monitor", "mode", "expected"),
    [("val/loss", None, "min"), ("val/loss_mean", None, "min"), ("val/mrr", None, "max"), ("val/own", "min", "min")],
)
def test_plateau_goes_by_the_better_end(monitor: str, mode: str | None, expected: str) -> None:
    entry = build_scheduler(config("scheduler", "plateau", mode=mode), optimizer(), 100, 10, monitor)
    assert entry is not None
    assert entry["scheduler"].mode == expected


def test_plateau_needs_to_be_told_the_better_end_of_a_variance() -> None:
    with pytest.raises(InputError, match=r"has no better end: say which it is, scheduler\.mode=max or scheduler"):
        build_scheduler(config("scheduler", "plateau"), optimizer(), 100, 10, "val/variance_ratio")


@pytest.mark.parametrize(
    ("section", "interval", "rates"),
    [
        ({"_target_": "torch.optim.lr_scheduler.ExponentialLR", "gamma": 0.5}, "epoch", [1.0, 0.5, 0.25]),
        ({"_target_": "own_parts.falling", "rate": 0.25}, "step", [1.0, 0.5, 0.25]),
    ],
)
def test_schedules_of_torch_and_of_ones_own(section: dict[str, Any], interval: str, rates: list[float]) -> None:
    entry = build_scheduler({"name": "own", **section}, optimizer(), 8, 2, "val/loss")
    assert entry is not None
    assert (entry["interval"], "monitor" in entry) == (interval, False)
    assert curve(entry, 3) == pytest.approx(rates)


def test_one_cycle_knows_the_length_of_the_run() -> None:
    section = {"_target_": "torch.optim.lr_scheduler.OneCycleLR", "name": "own", "max_lr": 2.0, "cycle_momentum": False}
    entry = build_scheduler(section, optimizer(), 10, 5, "val/loss")
    assert entry is not None
    assert (entry["interval"], entry["scheduler"].total_steps) == ("step", 10)
    assert max(curve(entry, 10)) == pytest.approx(2.0)


def test_the_plateau_of_torch_gets_the_better_end() -> None:
    section = {"_target_": "torch.optim.lr_scheduler.ReduceLROnPlateau", "name": "own", "patience": 0}
    entry = build_scheduler({**section, "monitor": None, "mode": None}, optimizer(), 8, 2, "val/map_at_r")
    assert entry is not None
    assert (entry["monitor"], entry["scheduler"].mode, entry["interval"]) == ("val/map_at_r", "max", "epoch")
    with pytest.raises(InputError, match=r"ReduceLROnPlateau goes by a metric: add the key scheduler\.monitor"):
        build_scheduler(section, optimizer(), 8, 2, "val/map_at_r")


@pytest.mark.parametrize("name", ["cosine", "step", "plateau"])
def test_state_round_trips(name: str) -> None:
    own: dict[str, dict[str, Any]] = {"step": {"step_size": 2}, "plateau": {"patience": 0}}
    changes = own.get(name, {"warmup_epochs": 0.3})
    metric = [1.0] * 8 if name == "plateau" else None

    def fresh() -> dict[str, Any]:
        entry = build_scheduler(config("scheduler", name, **changes), optimizer(), 8, 8, "val/loss")
        assert entry is not None
        return entry

    whole = curve(fresh(), 8, metric)
    first = fresh()
    begun = curve(first, 4, metric)
    second = fresh()
    second["scheduler"].load_state_dict(first["scheduler"].state_dict())
    second["scheduler"].optimizer.load_state_dict(first["scheduler"].optimizer.state_dict())
    assert begun + curve(second, 4, metric) == pytest.approx(whole)
    assert whole[0] != whole[-1]


@pytest.mark.parametrize(
    ("name", "changes", "total", "message"),
    [
        ("cosine", {}, math.inf, "needs to know where the run ends"),
        ("cosine", {"warmup_epochs": 2}, 20, "20 steps of a run of 20"),
        ("cosine", {"min_lr": 2.0}, 20, r"scheduler\.min_lr=2\.0: it has to be a number of at least 0 and at most 1$"),
        ("constant", {"warmup_epochs": -1}, 20, r"scheduler\.warmup_epochs=-1: it has to be a number of at least 0$"),
        ("step", {"step_size": 0}, 20, r"scheduler\.step_size=0: it has to be a whole number of at least 1$"),
        ("step", {"gamma": 0.0}, 20, r"scheduler\.gamma=0\.0: it has to be a number above 0 and at most 1$"),
        ("plateau", {"factor": 1.0}, 20, r"scheduler\.factor=1\.0: it has to be a number above 0 and below 1$"),
        ("plateau", {"patience": -1}, 20, r"scheduler\.patience=-1: it has to be a whole number of at least 0$"),
        ("step", {"_target_": "metriscope.training.schedules.stp"}, 20, "has no stp; did you mean 'step'"),
        ("step", {"_target_": "metriscope.training.schedules.cosine_factor"}, 20, "takes no such argument"),
        ("step", {"gama": 0.5}, 20, r"scheduler\.gama: step takes no such argument; did you mean 'gamma'\?$"),
    ],
)
def test_wrong_schedules_are_refused(name: str, changes: dict[str, Any], total: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_scheduler(config("scheduler", name, **changes), optimizer(), total, 10, "val/loss")


@pytest.mark.parametrize(
    ("section", "message"),
    [
        (
            {"_target_": "own_parts.nothing"},
            r"_target_=own_parts\.nothing: it has to return a learning-rate schedule",
        ),
        (
            {"_target_": "torch.optim.lr_scheduler.SequentialLR", "schedulers": [], "milestones": []},
            "^scheduler: SequentialLR ",
        ),
    ],
)
def test_wrong_schedules_of_ones_own_are_refused(section: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_scheduler({"name": "own", **section}, optimizer(), 8, 2, "val/loss")
