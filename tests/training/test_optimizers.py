from typing import Any

import pytest
import torch
from rates import config, curve
from torch.nn import Parameter
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from metriscope.errors import InputError
from metriscope.training.optimizers import build_optimizer
from metriscope.training.schedules import build_scheduler


def parts() -> dict[str, list[Parameter]]:
    return {part: [Parameter(torch.ones(2))] for part in ("trunk", "head", "loss")}


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
    groups = outcome.trainer.optimizers[0].param_groups
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
