"""Files of tensors: sealed, verified, and never run."""

import hashlib
import os
import pickle
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from metriscope import tensor_files
from metriscope.tensor_files import Damaged, Unsafe, load, save, verify

CONTENT = {"state_dict": {"a": torch.arange(60.0).view(6, 10), "b": torch.arange(3)}, "epoch": 2, "lr": [0.1, None]}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    save(CONTENT, tmp_path / "a.ckpt")
    return tmp_path / "a.ckpt"


@pytest.mark.parametrize("mmap", [False, True])
def test_what_was_saved_is_loaded(path: Path, mmap: bool) -> None:
    for found in (load(path, mmap), torch.load(path, weights_only=True)):
        assert found.keys() == CONTENT.keys()
        assert torch.equal(found["state_dict"]["a"], CONTENT["state_dict"]["a"])
        assert (found["epoch"], found["lr"]) == (2, [0.1, None])


def test_the_seal_says_which_file_it_is(path: Path) -> None:
    sealed = tensor_files.seal_of(path)
    assert path.read_bytes().endswith(sealed.encode())
    torch.save(CONTENT, path)
    assert tensor_files.seal_of(path) == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("sealed", [True, False])
def test_a_file_cut_anywhere_is_damaged(path: Path, sealed: bool) -> None:
    if not sealed:
        torch.save(CONTENT, path)
    whole = path.read_bytes()
    for size in (0, 1, 3, 4, 100, len(whole) // 2, len(whole) - 200):
        path.write_bytes(whole[:size])
        with pytest.raises(Damaged):
            load(path)


def test_every_flipped_byte_of_the_tensors_is_found_without_a_seal(path: Path) -> None:
    torch.save(CONTENT, path)
    whole = path.read_bytes()
    start = whole.index(CONTENT["state_dict"]["a"].numpy().tobytes())
    for place in (start, start + 100, start + 239):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(Damaged, match=r"is damaged: its part .*data/0 is not what was written"):
            verify(path)


def test_the_format_before_archives_is_read_without_a_checksum(path: Path) -> None:
    torch.save(CONTENT, path, _use_new_zipfile_serialization=False)
    assert torch.equal(load(path)["state_dict"]["b"], torch.arange(3))


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("write", [save, torch.save, lambda content, path: path.write_bytes(pickle.dumps(content, 2))])
def test_what_could_run_code_is_refused_and_not_run(tmp_path: Path, write: Any) -> None:
    path, mark = tmp_path / "a.ckpt", tmp_path / "mark"
    write({"x": Touch(mark)}, path)
    with pytest.raises(Unsafe, match="could run code when loaded, which is refused"):
        load(path)
    assert not mark.exists()


def test_the_file_before_is_kept(path: Path) -> None:
    kept = path.with_name("before.ckpt")
    first = path.read_bytes()
    save({"epoch": 3}, path, previous=kept)
    assert kept.read_bytes() == first
    assert load(path) == {"epoch": 3}
    assert sorted(one.name for one in path.parent.iterdir()) == ["a.ckpt", "before.ckpt"]


@pytest.mark.parametrize("room", [0, 200, 3000])
def test_a_full_disk_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    write = tensor_files._Remembering.write
    left = room

    def fill(self: Any, content: bytes) -> int:
        nonlocal left
        left -= len(content)
        if left < 0:
            self.error = OSError(28, "No space left on device")
            raise self.error
        return write(self, content)

    before = path.read_bytes()
    monkeypatch.setattr(tensor_files._Remembering, "write", fill)
    with pytest.raises(OSError, match=r"No space left on device, more than 0\.0 MB are needed") as caught:
        save({"a": torch.zeros(2000)}, path, previous=path.with_name("before.ckpt"))
    assert caught.value.filename == str(path)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == ["a.ckpt"]


def test_no_flip_of_a_bit_changes_what_is_loaded(path: Path) -> None:
    from bit_flips import flip_bits

    weights = path.with_name("weights.pth")
    torch.save(CONTENT["state_dict"], weights)
    draw = random.Random(0)
    refused, equal, changed = flip_bits(path, 30, draw)
    # A flip of the words before the digest leaves a file without a seal, whose tensors are whole.
    assert (refused + equal, changed) == (30, 0)
    assert refused >= 25
    assert flip_bits(weights, 30, draw).changed == 0
    assert torch.equal(load(path)["state_dict"]["a"], CONTENT["state_dict"]["a"])
