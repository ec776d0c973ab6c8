from typing import Any

import pytest
import torch
from torchvision import models
from trunks import described

from metriscope.errors import InputError
from metriscope.models.backbones import build_trunk
from metriscope.models.torchvision import torchvision_model

# The smallest of each family, and its features.
FAMILIES = {
    "alexnet": 256,
    "convnext_tiny": 768,
    "densenet121": 1024,
    "efficientnet_b0": 1280,
    "googlenet": 1024,
    "inception_v3": 2048,
    "maxvit_t": 512,
    "mnasnet0_5": 1280,
    "mobilenet_v2": 1280,
    "mobilenet_v3_small": 576,
    "resnet34": 512,
    "resnext50_32x4d": 2048,
    "shufflenet_v2_x0_5": 1024,
    "squeezenet1_1": 512,
    "swin_t": 768,
    "swin_v2_t": 768,
    "vgg11": 512,
    "vit_b_16": 768,
    "wide_resnet50_2": 2048,
}


def build(name: str, shape: tuple[int, ...] = (3, 64, 64), /, **changes: Any) -> Any:
    torch.manual_seed(0)
    return build_trunk(described("torchvision", name=name, **changes), shape)


def family(name: str) -> str:
    return name.split("_")[0].rstrip("0123456789")


def test_every_family_is_tried_below() -> None:
    # regnet computes with its sizes and cannot be built without values: below.
    tried = {family(name) for name in FAMILIES} | {"regnet"}
    assert {family(name) for name in models.list_models(module=models)} <= tried | {"mnasnet"}


@pytest.mark.parametrize("name", FAMILIES)
def test_features_of_every_family(name: str) -> None:
    with torch.device("meta"):  # no time is spent on values
        net = build(name, (3, 224, 224)).train()
        assert net(torch.empty(2, 3, 224, 224)).shape == (2, FAMILIES[name]) == (2, net.out_features)


@pytest.mark.parametrize(
    ("name", "maps"),
    [
        ("regnet_y_400mf", lambda net, x: net.trunk_output(net.stem(x))),
        ("mobilenet_v2", lambda net, x: net.features(x)),
        ("shufflenet_v2_x0_5", lambda net, x: net.conv5(net.stage4(net.stage3(net.stage2(net.maxpool(net.conv1(x))))))),
        ("squeezenet1_1", lambda net, x: net.features(x)),
        ("mnasnet0_5", lambda net, x: net.layers(x)),
        ("densenet121", lambda net, x: torch.relu(net.features(x))),
    ],
)
@pytest.mark.parametrize("pooling", [None, "max", "gem"])
def test_pooling_is_of_the_maps_that_the_network_pools(name: str, maps: Any, pooling: str | None) -> None:
    torch.manual_seed(0)
    net: Any = models.get_model(name, weights=None)
    own = build(name, pooling=pooling).eval()
    own.body.load_state_dict(net.state_dict(), strict=False)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        found = maps(net.eval(), images).flatten(2)
        expected = {None: found.mean(2), "max": found.amax(2), "gem": found.clamp_min(1e-6).pow(3).mean(2).pow(1 / 3)}
        torch.testing.assert_close(own(images), expected[pooling])


@pytest.mark.parametrize("name", ["resnet18", "convnext_tiny", "swin_t"])
def test_features_are_what_the_classifier_reads(name: str) -> None:
    torch.manual_seed(0)
    net: Any = models.get_model(name, weights=None).eval()
    own = build(name).eval()
    own.body.load_state_dict(net.state_dict(), strict=False)
    last = [layer for layer in net.modules() if isinstance(layer, torch.nn.Linear)][-1]
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(last(own(images)), net(images))


@pytest.mark.parametrize(
    ("name", "shape", "changes", "message"),
    [
        ("resnet19", (3, 32, 32), {}, "backbone.name=resnet19: torchvision has no such model; did you mean 'resnet1"),
        ("vit_b_16", (3, 32, 32), {"pooling": "gem"}, "backbone.pooling=gem: vit_b_16 has a class token"),
        ("vit_b_16", (3, 40, 40), {}, "a multiple of 16"),
        ("inception_v3", (3, 32, 32), {}, "inception_v3 cannot read images of 32 x 32 pixels"),
        ("resnet18", (5, 32, 32), {}, "1 or 3 channels and the data has 5"),
        (
            "resnet18",
            (3, 32, 32),
            {"poolin": "avg"},
            "backbone.poolin: torchvision_model takes no such argument",
        ),
        ("resnet18", (3, 32, 32), {"weights": "IMAGENET"}, "did you mean 'IMAGENET1K_V1'"),
    ],
)
def test_what_does_not_fit_is_refused(name: str, shape: tuple[int, ...], changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build(name, shape, **changes)


def test_weights_say_what_they_were_trained_with() -> None:
    with torch.device("meta"):
        published = torchvision_model((3, 224, 224), name="vit_b_16").pretrained
    assert "IMAGENET1K_SWAG_E2E_V1" in published
    assert published["IMAGENET1K_V1"].mean == (0.485, 0.456, 0.406)
    assert published["IMAGENET1K_V1"].std == (0.229, 0.224, 0.225)
