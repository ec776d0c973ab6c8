"""The trunk of pairs: two towers whose rows alternate."""

import pytest
import torch
from trunks import described

from metriscope.errors import InputError
from metriscope.models.backbones import build_trunk
from metriscope.models.heads import LinearHead
from metriscope.models.network import Network
from metriscope.models.paired import OneSide, Pairs


def trunk(shape=(3, 4), **changes):
    torch.manual_seed(0)
    return build_trunk(described("two_tower", **{"first": [7], "second": [6, 5], "size": 8, **changes}), shape)


def pairs(count=5):
    source = torch.Generator().manual_seed(1)
    return Pairs(torch.randn(count, 3, generator=source), torch.randn(count, 4, generator=source))


def test_the_rows_of_a_pair_follow_each_other():
    net = Network(trunk().eval(), LinearHead(8, 2), 2).eval()
    given = pairs()
    found = net(given)
    assert (found.z.shape, found.features.shape) == ((10, 2), (10, 8))
    assert net.sides(found.z).tolist() == [0, 1] * 5
    for side in (0, 1):
        torch.testing.assert_close(net(OneSide(given[side], side)).z, found.z[side::2])
    assert Network(build_trunk(described("mlp", widths=[4]), (3,)), LinearHead(4, 2), 2).sides(found.z) is None


def test_a_tower_knows_nothing_of_the_other():
    net, given = trunk(), pairs()
    before = net(given)[0::2]
    torch.testing.assert_close(net(Pairs(given.first, given.second * 100))[0::2], before)


def test_layers_learn_by_their_distance_from_the_output():
    net = trunk()
    names = {id(parameter): name for name, parameter in net.body.named_parameters()}
    blocks = [[names[id(parameter)] for parameter in block] for block in net.blocks()]
    assert [sorted({name[: name.index(".") + 2] for name in block}) for block in blocks] == [
        ["second.0"],
        ["first.0", "second.1"],
        ["first.1", "second.2"],
    ]


def test_a_linear_map_for_each_side():
    net = trunk(first=[], second=[], batch_norm=False)
    given = pairs()
    torch.testing.assert_close(net(given)[0::2], given.first @ net.body.first[0].weight.T + net.body.first[0].bias)


def test_pairs_and_other_data_are_not_confused():
    with pytest.raises(InputError, match=r"^backbone=two_tower reads pairs of vectors and the data gives \(5,\): use"):
        trunk((5,))
    for name in ("mlp", "small_cnn", "resnet18"):
        with pytest.raises(InputError, match=rf"^backbone={name} reads .*image.* are pairs .* use backbone=two_tower$"):
            build_trunk(described(name), (3, 4))
