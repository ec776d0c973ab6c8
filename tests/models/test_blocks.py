import pytest
import torch
from torch import nn
from torch.nn import Parameter
from trunks import described

from metriscope.models.backbones import build_trunk
from metriscope.models.blocks import blocks_of, in_order
from metriscope.models.trunk import Trunk


def trunk(name: str, size: int = 32, **changes: object) -> Trunk:
    choice = str(changes.get("library", name))
    return build_trunk(described(choice, **{"name": name, **changes}), (3, size, size))


def names(net: nn.Module, blocks: list[list[Parameter]]) -> list[list[str]]:
    of = {id(parameter): name for name, parameter in net.named_parameters()}
    return [[of[id(parameter)] for parameter in block] for block in blocks]


@pytest.mark.parametrize(
    ("name", "changes", "depth"),
    [
        ("mlp", {"widths": [4, 4, 4]}, 3),
        ("small_cnn", {"pooling": "gem"}, 3),
        ("resnet18", {"pooling": "gem"}, 9),
        ("resnet18_cifar", {}, 9),
        ("vit_b_32", {"image_size": 32}, 13),
        ("efficientnet_lite0", {"pooling": "gem"}, 17),
        ("test_resnet", {"library": "timm", "pooling": "gem"}, 5),
        ("test_vit", {"library": "timm"}, 7),
        ("mobilenet_v3_small", {"library": "torchvision"}, 13),
    ],
)
def test_every_parameter_is_in_one_block(name: str, changes: dict[str, object], depth: int) -> None:
    with torch.device("meta"):
        net = trunk(name, **changes)
    blocks = net.blocks()
    assert len(blocks) == depth
    assert sorted(id(p) for block in blocks for p in block) == sorted(id(p) for p in net.parameters())


def test_blocks_follow_the_depth() -> None:
    with torch.device("meta"):
        net = trunk("resnet18", pooling="gem")
        first, second, *_, last = names(net.body, net.blocks())
        assert first == ["conv1.weight", "bn1.weight", "bn1.bias"]
        assert all(name.startswith("layer1.0.") for name in second)
        assert last[-1] == "avgpool.p"
        assert all(name.startswith("layer4.1.") for name in last[:-1])
        net = trunk("vit_b_32", image_size=32)
        first, *_, last = names(net.body, net.blocks())
    assert first == ["class_token", "encoder.pos_embedding", "conv_proj.weight", "conv_proj.bias"]
    assert last[-2:] == ["encoder.ln.weight", "encoder.ln.bias"]


def test_a_single_layer_and_none() -> None:
    layer = nn.Linear(2, 2)
    assert blocks_of(nn.Sequential(layer)) == [[layer.weight, layer.bias]]
    assert blocks_of(nn.ReLU()) == []


def test_a_parameter_without_a_position_is_last() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2, bias=False))
    assert names(net, in_order(net, {"1.weight": 0, "0.weight": 3})) == [["1.weight"], ["0.weight", "0.bias"]]
