import logging
import pickle
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor
from trunks import described

from metriscope.errors import InputError
from metriscope.models.backbones import build_trunk
from metriscope.models.trunk import Trunk
from metriscope.models.weights import download

SHAPE = (1, 8, 8)


class Touch:
    """Unpickling this creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.path), "w")


def small(weights: Path | str | None = None, seed: int = 0, widths: tuple[int, ...] = (4, 8)) -> Trunk:
    torch.manual_seed(seed)
    return build_trunk(described("small_cnn", widths=widths, weights=weights), SHAPE)


@pytest.fixture
def source() -> Trunk:
    net = small(seed=1)
    net(torch.randn(8, *SHAPE))  # moves the running statistics
    return net


def same(one: Trunk, other: Trunk) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def prefixed(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {prefix + key: value for key, value in state.items()}


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "trunk.", "backbone.", "module.backbone."])
@pytest.mark.parametrize("container", [None, "state_dict", "model"])
def test_wrapped_names_are_matched(source: Trunk, tmp_path: Path, prefix: str, container: str | None) -> None:
    state = prefixed(source.body.state_dict(), prefix)
    path = tmp_path / "w.pth"
    torch.save({container: state, "epoch": 3} if container else state, path)
    net = small(path)
    assert same(net, source)
    assert net.loaded is not None
    assert (net.loaded.matched, net.loaded.total, net.loaded.missing) == (10, 10, ())


@pytest.mark.parametrize("compiled", [False, True])
def test_checkpoint_of_a_run_gives_its_trunk(source: Trunk, tmp_path: Path, compiled: bool) -> None:
    own = prefixed(source.state_dict(), "embedder.trunk." + "_orig_mod." * compiled)
    other = {"embedder.head.weight": torch.zeros(3, 8), "loss.proxies": torch.zeros(2, 3)}
    path = tmp_path / "best.ckpt"
    torch.save({"state_dict": own | other, "global_step": 1}, path)
    net = small(path)
    assert same(net, source)
    assert net.loaded is not None
    assert net.loaded.unused == ()


def test_partial_match_is_reported(source: Trunk, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = dict(source.body.state_dict())
    state["fc.weight"] = torch.zeros(2, 2)
    state["4.weight"] = torch.zeros(9, 9)
    del state["0.weight"]
    path = tmp_path / "part.pt"
    torch.save(state, path)
    with caplog.at_level(logging.INFO):
        net = small(path)
    report = net.loaded
    assert report is not None
    assert (report.matched, report.total) == (8, 10)
    assert (report.missing, report.misfits, report.unused) == (("0.weight",), ("4.weight",), ("fc.weight",))
    assert caplog.records[-1].levelno == logging.WARNING
    assert "8 of 10 tensors" in caplog.text
    assert "of another shape: 4.weight" in caplog.text
    assert torch.equal(net.body.state_dict()["2.weight"], state["2.weight"])


def test_file_for_another_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.pt"
    torch.save({"layer.weight": torch.zeros(3), "2.num_batches_tracked": torch.tensor(1)}, path)
    with pytest.raises(InputError, match=r"nothing in .*other.pt fits small_cnn: the file has layer.weight"):
        small(path)


@pytest.mark.parametrize("legacy", [False, True])
def test_truncated_file_is_refused(source: Trunk, tmp_path: Path, legacy: bool) -> None:
    path = tmp_path / "cut.pt"
    torch.save(source.state_dict(), path, _use_new_zipfile_serialization=not legacy)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=r"cut.pt is (truncated|not a PyTorch file|damaged)"):
        small(path)


def test_a_flipped_bit_is_refused(source: Trunk, tmp_path: Path) -> None:
    path = tmp_path / "flipped.pth"
    torch.save(source.state_dict(), path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"flipped.pth is damaged: its part .* is not what was written: copy or"):
        small(path)


def test_a_download_that_has_changed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    torch.save({}, tmp_path / "checkpoints" / "net-01234567.pth")
    with pytest.raises(InputError, match=r"net-01234567.pth is not what was published: delete it and run again"):
        download("NAME", "https://weights.example/net-01234567.pth")


@pytest.mark.parametrize("content", [b"", b"hello, this is text\n", b"PK\x03\x04"])
def test_file_that_is_no_weights_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.pth"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"bad.pth is"):
        small(path)


@pytest.mark.parametrize("plain", [False, True])
def test_pickled_code_is_refused_and_not_run(tmp_path: Path, plain: bool) -> None:
    path, mark = tmp_path / "evil.pt", tmp_path / "mark"
    content = {"0.weight": torch.zeros(1), "x": Touch(mark)}
    if plain:
        path.write_bytes(pickle.dumps({"x": Touch(mark)}, protocol=2))
    else:
        torch.save(content, path)
    with pytest.raises(InputError, match="could run code when loaded, which is refused"):
        small(path)
    assert not mark.exists()


def test_file_of_one_tensor_is_refused(tmp_path: Path) -> None:
    torch.save(torch.zeros(3), tmp_path / "t.pt")
    with pytest.raises(InputError, match="holds a Tensor, not named tensors"):
        small(tmp_path / "t.pt")


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("nowhere/w.pth", "there is no file nowhere/w.pth"),
        ("IMAGENET1K_V1", r"not known for small_cnn: give null \(nobody publishes weights for it\)"),
    ],
)
def test_unknown_weights_are_refused(weights: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        small(weights)


def test_unknown_torchvision_name_lists_the_known() -> None:
    cfg = described("resnet18", weights="IMAGENET1K_V9")
    with pytest.raises(InputError, match=r"not known for resnet18; did you mean '\w+_V1'\? give one of IMAGENET1K_V1"):
        build_trunk(cfg, (3, 32, 32))


def test_failed_download_says_how_to_get_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*args: object, **kwargs: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    cfg = described("resnet18", weights="IMAGENET1K_V1")
    with pytest.raises(InputError, match="no route to host") as caught:
        build_trunk(cfg, (3, 32, 32))
    line = str(caught.value)
    assert "https://download.pytorch.org/models/resnet18-" in line
    assert str(tmp_path / "checkpoints" / "resnet18-") in line
    assert "path of a local file" in line
    assert "\n" not in line


def test_downloaded_torchvision_weights_fill_the_trunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.models import ResNet18_Weights, resnet18

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    full = resnet18(weights=None)
    torch.save(full.state_dict(), tmp_path / "checkpoints" / ResNet18_Weights.IMAGENET1K_V1.url.split("/")[-1])
    monkeypatch.setattr("metriscope.models.weights._sha256", lambda path: "f37072fd")
    net = build_trunk(described("resnet18", weights="IMAGENET1K_V1"), (3, 32, 32))
    assert net.loaded is not None
    assert net.loaded.matched == net.loaded.total
    assert net.loaded.unused == ("fc.weight", "fc.bias")
    assert torch.equal(net.body.state_dict()["conv1.weight"], full.conv1.weight)


def test_vit_positions_are_interpolated_to_another_image_size(tmp_path: Path) -> None:
    path = tmp_path / "vit.pt"
    torch.save({"class_token": torch.ones(1, 1, 768), "encoder.pos_embedding": torch.ones(1, 50, 768)}, path)
    net = build_trunk(described("vit_b_32", image_size=96, weights=path), (3, 96, 96))
    assert net.loaded is not None
    assert (net.loaded.matched, net.loaded.misfits) == (2, ())
    torch.testing.assert_close(net.body.state_dict()["encoder.pos_embedding"], torch.ones(1, 10, 768))


def test_safetensors(source: Trunk, tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    path = tmp_path / "w.safetensors"
    safetensors.save_file({key: value.contiguous() for key, value in source.state_dict().items()}, path)
    assert same(small(path), source)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match="truncated or damaged"):
        small(path)


def test_safetensors_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "safetensors", None)
    path = tmp_path / "w.safetensors"
    path.touch()
    with pytest.raises(InputError, match="pip install safetensors"):
        small(path)
