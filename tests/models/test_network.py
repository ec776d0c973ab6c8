import math
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from torch.nn.functional import normalize

from metriscope.build.run import network_of
from metriscope.config.plain import plain
from metriscope.errors import InputError
from metriscope.models.heads import ReweightHead
from metriscope.unit import unit_parts

CONFIGS = Path(__file__).parents[2] / "configs"
SHAPE = (1, 8, 8)


def compose(backbone: str = "small_cnn", head: str = "linear", seed: int = 0, **changes: Any) -> DictConfig:
    parts = {
        "backbone": OmegaConf.load(CONFIGS / "backbone" / f"{backbone}.yaml"),
        "head": OmegaConf.merge(OmegaConf.load(CONFIGS / "head" / f"{head}.yaml"), changes),
    }
    return OmegaConf.create({"seed": seed, "dataset": {}, **parts})


@pytest.mark.parametrize(
    ("head", "changes", "size"),
    [
        ("linear", {}, 128),
        ("linear", {"size": 5}, 5),
        ("mlp", {"hidden": 7}, 128),
        ("identity", {}, 128),
        ("reweight", {}, 128),
    ],
)
@pytest.mark.parametrize("normalize", [True, False])
def test_embedding_shapes(head: str, changes: dict[str, Any], size: int, normalize: bool) -> None:
    net = network_of(plain(compose(head=head, normalize=normalize, **changes)), SHAPE)
    z, raw, features = net(torch.randn(4, *SHAPE))
    assert z.shape == raw.shape == (4, size) == (4, net.size)
    assert features.shape == (4, 128)
    if normalize:
        torch.testing.assert_close(z.norm(dim=1), torch.ones(4))
        torch.testing.assert_close(z * raw.norm(dim=1, keepdim=True), raw)
    else:
        assert torch.equal(z, raw)


def test_embedding_is_float32_under_autocast() -> None:
    net = network_of(plain(compose()), SHAPE)
    with torch.autocast("cpu", torch.bfloat16):
        z, raw, features = net(torch.randn(4, *SHAPE))
    assert (z.dtype, raw.dtype, features.dtype) == (torch.float32, torch.float32, torch.bfloat16)
    torch.testing.assert_close(z.norm(dim=1), torch.ones(4), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("head", "changes", "message"),
    [
        ("identity", {"size": 64}, "does not fit the identity head on a trunk of 128 features"),
        ("linear", {"size": None}, "it has to be a whole number of at least 1"),
        ("mlp", {"size": 0}, "it has to be a whole number of at least 1"),
        ("mlp", {"hidden": 0}, "head.hidden"),
        ("reweight", {"size": 64}, "does not fit the reweight head on a trunk of 128 features"),
        ("reweight", {"kappa": 0.9}, "head.kappa=0.9: it has to be"),
        ("reweight", {"kappa": 1.14}, r"head.kappa=1.14: of 128 features .* the float32 epsilon: use at most 1.1337"),
        ("identity", {"parts": 3}, "head.parts=3 does not divide the 128 numbers of an embedding: change either"),
        ("linear", {"parts": 2, "normalize": False}, "head.parts=2 normalises each part of an embedding: set"),
    ],
)
def test_impossible_heads_are_refused(head: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        network_of(plain(compose(head=head, **changes)), SHAPE)


def test_reweighting_divides_by_powers_of_kappa() -> None:
    assert ReweightHead(3, kappa=2.0)(torch.ones(1, 3)).tolist() == [[1, 0.5, 0.25]]
    x = torch.randn(2, 5)
    assert torch.equal(ReweightHead(5, kappa=1.0)(x), x)
    head = ReweightHead(64, kappa=1.2878)
    assert float(head.weights[-1]) > torch.finfo(torch.float32).eps
    assert float(ReweightHead(2048).weights[-1]) == pytest.approx(math.exp(-8), rel=0.01)
    assert list(head.parameters()) == []
    assert not head.state_dict()


def test_parts_are_scaled_each_on_its_own() -> None:
    net = network_of(plain(compose(size=12, parts=3)), SHAPE)
    whole = network_of(plain(compose(size=12)), SHAPE)
    inputs = torch.randn(6, *SHAPE)
    z, raw, _ = net(inputs)
    assert torch.equal(raw, whole(inputs).raw)
    blocks = normalize(raw.view(6, 3, 4), dim=2)
    torch.testing.assert_close(z.view(6, 3, 4), blocks / 3**0.5)
    torch.testing.assert_close(z.norm(dim=1), torch.ones(6))
    torch.testing.assert_close(z @ z.T, torch.einsum("ihd,jhd->hij", blocks, blocks).mean(0))
    assert torch.equal(network_of(plain(compose(size=12, parts=1)), SHAPE)(inputs).z, whole(inputs).z)


def test_gradient_of_parts() -> None:
    rows = torch.randn(3, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: unit_parts(x, 2), rows)
    empty = torch.tensor([[0.0, 0.0, 3.0, 4.0]], requires_grad=True)
    unit_parts(empty, 2).sum().backward()
    assert empty.grad is not None
    assert empty.grad[0, :2].tolist() == [0, 0]
    assert torch.isfinite(empty.grad).all()


def test_initial_values_depend_on_the_seed_only() -> None:
    states = []
    for seed, disturbance in ((3, 0), (3, 1), (4, 0)):
        torch.manual_seed(disturbance)
        before = torch.get_rng_state()
        states.append(network_of(plain(compose(seed=seed)), SHAPE).state_dict())
        assert torch.equal(torch.get_rng_state(), before)
    first, again, other = states
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["trunk.body.0.weight"], other["trunk.body.0.weight"])
    assert not torch.equal(first["head.weight"], other["head.weight"])


def test_checkpoint_of_an_embedder_starts_another(tmp_path: Path) -> None:
    source = network_of(plain(compose(seed=1)), SHAPE)
    path = tmp_path / "last.ckpt"
    torch.save({"state_dict": {f"embedder.{key}": value for key, value in source.state_dict().items()}}, path)
    cfg = compose(seed=2, size=9)
    cfg.backbone.weights = str(path)
    net = network_of(plain(cfg), SHAPE)
    assert all(torch.equal(value, source.trunk.state_dict()[key]) for key, value in net.trunk.state_dict().items())
