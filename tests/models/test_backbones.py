from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from metriscope.config.plain import plain
from metriscope.errors import InputError
from metriscope.models.backbones import build_trunk
from metriscope.models.trunk import Trunk

CONFIGS = Path(__file__).parents[2] / "configs" / "backbone"


def config(name: str, /, **changes: Any) -> dict[str, Any]:
    loaded = OmegaConf.load(CONFIGS / f"{name}.yaml")
    return plain(OmegaConf.merge(loaded, changes))


def trunk(name: str, shape: tuple[int, ...], /, **changes: Any) -> Trunk:
    torch.manual_seed(0)
    return build_trunk(config(name, **changes), shape)


@pytest.mark.parametrize(
    ("name", "shape", "features"),
    [
        ("mlp", (5,), 512),
        ("mlp", (1, 8, 8), 512),
        ("small_cnn", (1, 8, 8), 128),
        ("small_cnn", (1, 28, 28), 128),
        ("small_cnn", (3, 32, 32), 128),
        ("resnet18_cifar", (3, 16, 16), 512),
        ("resnet18_cifar", (1, 8, 8), 512),
        ("resnet18", (3, 64, 64), 512),
        ("resnet18", (1, 64, 64), 512),
        ("resnet50", (3, 64, 64), 2048),
        ("vit_b_32", (1, 64, 64), 768),
        ("efficientnet_lite0", (3, 64, 64), 1280),
    ],
)
def test_features_have_the_announced_size_and_a_gradient(name: str, shape: tuple[int, ...], features: int) -> None:
    own = {"image_size": 64} if name == "vit_b_32" else {"weights": None}
    net = trunk(name, shape, **own)
    out = net(torch.randn(2, *shape))
    assert out.shape == (2, features) == (2, net.out_features)
    out.square().sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


@pytest.mark.parametrize(
    ("name", "shape", "changes", "message"),
    [
        ("vit_b_32", (3, 32, 32), {}, "224 x 224 images and the data gives 32 x 32"),
        ("vit_b_32", (3, 40, 40), {"image_size": 40}, "multiple of the 32-pixel patch"),
        ("small_cnn", (20,), {}, "reads images"),
        ("small_cnn", (1, 8, 8), {"stem_kernel_size": 4}, "has to be odd"),
        ("small_cnn", (1, 8, 8), {"widths": []}, "a list of one or more whole numbers of at least 1"),
        (
            "small_cnn",
            (1, 8, 8),
            {"width": 3},
            "backbone.width: small_cnn takes no such argument; did you",
        ),
        ("small_cnn", (1, 8, 8), {"pooling": "mean"}, "backbone.pooling=mean: it has to be one of avg, max, gem"),
        ("resnet18", (3, 64), {}, "reads images"),
        ("resnet18", (4, 64, 64), {}, "1 or 3 channels and the data has 4"),
    ],
)
def test_what_does_not_fit_is_refused(name: str, shape: tuple[int, ...], changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        trunk(name, shape, **changes)


def test_grey_images_are_read_as_three_equal_channels() -> None:
    net = trunk("resnet18", (1, 32, 32)).eval()
    grey = torch.randn(2, 1, 32, 32)
    torch.testing.assert_close(net(grey), net(grey.repeat(1, 3, 1, 1)))


def test_frozen_trunk_stays_frozen_after_train() -> None:
    net = trunk("small_cnn", (1, 8, 8), freeze=True)
    nn.Sequential(net).train()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    out = net(torch.randn(4, 1, 8, 8, requires_grad=True))
    assert not out.requires_grad
    assert not any(module.training for module in net.modules())
    assert not any(parameter.requires_grad for parameter in net.parameters())
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


def test_frozen_batch_norm_keeps_statistics_and_affine_parameters() -> None:
    net = trunk("small_cnn", (1, 8, 8), freeze_batch_norm=True)
    nn.Sequential(net).train()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    net(torch.randn(4, 1, 8, 8)).sum().backward()
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    others = [module for module in net.modules() if isinstance(module, nn.Conv2d)]
    assert len(norms) == 3
    assert not any(norm.training or norm.weight.requires_grad or norm.bias.requires_grad for norm in norms)
    assert all(conv.training and conv.weight.grad is not None for conv in others)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


def test_trunk_learns_unless_told_otherwise() -> None:
    net = trunk("small_cnn", (1, 8, 8)).eval().train()
    assert all(module.training for module in net.modules())
    assert all(parameter.requires_grad for parameter in net.parameters())


@pytest.mark.parametrize(("name", "shape"), [("small_cnn", (3, 16, 16)), ("resnet18_cifar", (3, 16, 16))])
def test_memory_format_changes_no_value(name: str, shape: tuple[int, ...]) -> None:
    inputs = torch.randn(4, *shape)
    outputs = []
    for channels_last in (False, True):
        net = trunk(name, shape, channels_last=channels_last).double()
        outputs.append(net(inputs.double()))
        stem = next(module for module in net.modules() if isinstance(module, nn.Conv2d))
        assert stem.weight.is_contiguous(memory_format=torch.channels_last) == channels_last
    torch.testing.assert_close(outputs[0], outputs[1])
