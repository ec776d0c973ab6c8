"""Frozen trunks that are kept from one network to the next."""

import pytest
import torch

from metriscope.build.network import KeptTrunk, build_network
from metriscope.models.backbones import build_trunk

HEAD = {"_target_": "metriscope.models.heads.LinearHead", "name": "linear", "size": 4, "normalize": True}


def network(trunk_of, seed=0, freeze=True, widths=(6,)):
    backbone = {"_target_": "metriscope.models.backbones.mlp", "name": "mlp", "widths": list(widths), "freeze": freeze}
    return build_network(backbone, HEAD, (8,), normalised_with=(None, None), seed=seed, trunk_of=trunk_of)


def same(one, other):
    return all(torch.equal(value, other.state_dict()[key]) for key, value in one.state_dict().items())


def test_networks_are_those_without_it():
    kept = KeptTrunk()
    before = torch.get_rng_state()
    first, second = network(kept), network(kept)
    assert second.trunk is first.trunk
    assert second.head is not first.head
    assert same(first, network(build_trunk))
    assert same(second, network(build_trunk))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("other", [{"seed": 1}, {"widths": (7,)}, {"freeze": False}])
def test_another_trunk_is_built(other):
    kept = KeptTrunk()
    first, second = network(kept), network(kept, **other)
    assert second.trunk is not first.trunk
    assert same(second, network(build_trunk, **other))
    assert network(kept, freeze=False).trunk is not network(kept, freeze=False).trunk
