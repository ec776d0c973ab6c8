import math
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch.nn import Parameter
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from metriscope.errors import InputError
from metriscope.training.optimizers import build_optimizer
from metriscope.training.schedules import build_scheduler

CONFIGS = Path(__file__).parents[1] / "configs"


def config(group: str, name: str, /, **changes: Any) -> Any:
    return OmegaConf.merge(OmegaConf.load(CONFIGS / group / f"{name}.yaml"), changes)


def parts() -> dict[str, list[Parameter]]:
    return {part: [Parameter(torch.ones(2))] for part in ("trunk", "head", "loss")}


def optimizer(lr: float = 1.0) -> Optimizer:
    cfg = config("optimizer", "sgd", lr=lr, lr_head=lr / 10)
    return build_optimizer(
        cfg, {"trunk": [Parameter(torch.ones(1))], "head": [Parameter(torch.ones(1))]} | {"loss": []}
    )


def curve(entry: dict[str, Any], steps: int, metric: list[float] | None = None) -> list[float]:
    scheduler = entry["scheduler"]
    rates = []
    for step in range(steps):
        rates.append(scheduler.optimizer.param_groups[0]["lr"])
        scheduler.optimizer.step()
        scheduler.step(*([metric[step]] if metric else []))
    return rates


@pytest.mark.parametrize(("name", "kind"), [("sgd", SGD), ("adam", Adam), ("adamw", AdamW), ("rmsprop", RMSprop)])
def test_each_part_has_its_own_rate(name: str, kind: type[Optimizer]) -> None:
    groups = parts()
    cfg = config("optimizer", name, lr=0.1, lr_trunk=0.01, lr_loss=0.0, weight_decay=0.3)
    built = build_optimizer(cfg, groups)
    assert type(built) is kind
    assert [(g["name"], g["lr"], g["weight_decay"]) for g in built.param_groups] == [
        ("trunk", 0.01, 0.3),
        ("head", 0.1, 0.3),
        ("loss", 0.0, 0.3),
    ]
    for group in groups.values():
        group[0].grad = torch.ones(2)
    built.step()
    assert torch.equal(groups["loss"][0], torch.ones(2))
    assert (groups["head"][0] < groups["trunk"][0]).all()


def test_own_keys_reach_the_optimiser() -> None:
    sgd = build_optimizer(config("optimizer", "sgd", momentum=0.5, nesterov=False), parts())
    assert (sgd.defaults["momentum"], sgd.defaults["nesterov"]) == (0.5, False)
    adam = build_optimizer(config("optimizer", "adamw", betas=[0.8, 0.9]), parts())
    assert adam.defaults["betas"] == (0.8, 0.9)


def test_rates_of_the_trunk_fall_towards_the_input() -> None:
    blocks = [
        [Parameter(torch.ones(1))],
        [Parameter(torch.ones(1)), Parameter(torch.ones(1))],
        [Parameter(torch.ones(1))],
    ]
    blocks[1][0].requires_grad_(False)
    groups = {**parts(), "trunk": [p for block in blocks for p in block]}
    cfg = config("optimizer", "adamw", lr=0.2, lr_trunk=0.1, layer_decay=0.5)
    built = build_optimizer(cfg, groups, blocks)
    found = [(group["name"], group["lr"], len(group["params"])) for group in built.param_groups]
    assert found == [
        ("trunk.0", pytest.approx(0.1 * 0.5**3), 1),
        ("trunk.1", pytest.approx(0.1 * 0.5**2), 1),
        ("trunk.2", pytest.approx(0.1 * 0.5), 1),
        ("head", 0.2, 1),
        ("loss", 0.2, 1),
    ]
    entry = build_scheduler(config("scheduler", "cosine"), built, 10, 5, "val/loss")
    assert entry is not None
    curve(entry, 5)
    rates = [group["lr"] for group in built.param_groups]
    assert rates == pytest.approx([0.1 * 0.5**4, 0.1 * 0.5**3, 0.1 * 0.5**2, 0.1, 0.1])


def test_a_run_with_rates_per_block_reports_its_parts_as_ever(run: Any) -> None:
    outcome = run("backbone.widths=[12,8]", "optimizer.layer_decay=0.5", "optimizer.lr=0.01", "trainer.max_epochs=1")
    groups = outcome.objects["trainer"].optimizers[0].param_groups
    assert [(group["name"], group["lr"]) for group in groups] == [
        ("trunk.0", pytest.approx(0.0025)),
        ("trunk.1", pytest.approx(0.005)),
        ("head", 0.01),
    ]
    assert outcome.metrics["train/grad_norm_trunk"] > 0
    assert {name for name in outcome.metrics if "grad_norm_trunk." in name} == set()


def test_blocks_make_no_groups_unless_asked() -> None:
    groups = parts()
    built = build_optimizer(config("optimizer", "adam"), groups, [groups["trunk"]])
    assert [group["name"] for group in built.param_groups] == ["trunk", "head", "loss"]


@pytest.mark.parametrize("layer_decay", [0.0, -0.5, 1.5])
def test_layer_decay_out_of_range_is_refused(layer_decay: float) -> None:
    with pytest.raises(InputError, match="layer_decay must be above 0 and at most 1"):
        build_optimizer(config("optimizer", "adam", layer_decay=layer_decay), parts(), [])


def test_frozen_and_empty_groups_are_left_out() -> None:
    groups = {**parts(), "loss": []}
    groups["trunk"][0].requires_grad_(False)
    built = build_optimizer(config("optimizer", "adam"), groups)
    assert [group["name"] for group in built.param_groups] == ["head"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lr": -1.0}, "optimizer adam: Invalid learning rate"),
        ({"momentum": 0.9}, "optimizer adam: .*unexpected keyword argument 'momentum'"),
        ({"lr_neck": 0.1}, "lr_neck: there is no such part; there are trunk, head, loss"),
        ({"name": "adan"}, "unknown optimiser 'adan'"),
    ],
)
def test_wrong_optimiser_settings_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_optimizer(config("optimizer", "adam", **changes), parts())


def test_nothing_to_train_is_refused() -> None:
    groups = parts()
    for group in groups.values():
        group[0].requires_grad_(False)
    with pytest.raises(InputError, match="nothing to train"):
        build_optimizer(config("optimizer", "adam"), groups)


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
        ("cosine", {"min_lr": 2.0}, 20, "scheduler.min_lr must be a share"),
        ("constant", {"warmup_epochs": -1}, 20, "scheduler.warmup_epochs must be 0 epochs or more"),
        ("step", {"step_size": 0}, 20, "scheduler.step_size"),
        ("step", {"gamma": 0.0}, 20, "scheduler.gamma"),
        ("plateau", {"factor": 1.0}, 20, "scheduler.factor"),
        ("plateau", {"patience": -1}, 20, "scheduler.patience"),
        ("step", {"name": "stairs"}, 20, "unknown schedule 'stairs'"),
    ],
)
def test_wrong_schedules_are_refused(name: str, changes: dict[str, Any], total: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_scheduler(config("scheduler", name, **changes), optimizer(), total, 10, "val/loss")
