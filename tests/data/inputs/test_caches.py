import errno
import json
import os
import time

import pytest
import torch

from metriscope.data.inputs import caches
from metriscope.data.inputs.caches import ArrayFile, digest_of_files, digest_of_tensor
from metriscope.errors import InputError

VALUES = torch.arange(60.0).view(10, 2, 3)


class Build:
    """Fills the array in stretches out of order, and counts how often."""

    def __init__(self, values=VALUES, extra=None):
        self.values, self.extra, self.times = values, extra, 0

    def __call__(self, draft):
        self.times += 1
        for start in (6, 0, 3):
            draft.write(start, self.values[start : start + (4 if start == 6 else 3)])
        return self.extra


@pytest.fixture
def file(tmp_path):
    return ArrayFile(tmp_path / "cache", {"what": "numbers"}, "set paths.cache_dir=<folder>")


def get(file, build, values=VALUES):
    return file.get("numbers", tuple(values.shape), values.dtype, build)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.bfloat16, torch.int64])
def test_what_is_written_is_read(file, dtype):
    values = VALUES.to(dtype)
    build = Build(values, extra={"sizes": [[1, 2], [3, 4]]})
    for _ in range(2):
        found, extra = get(file, build, values)
        assert found.dtype == dtype
        assert torch.equal(found, values)
        assert extra == {"sizes": [[1, 2], [3, 4]]}
    assert build.times == 1
    assert sorted(path.suffix for path in file.folder.iterdir()) == [".array", ".lock"]


def test_other_facts_are_another_file(file):
    get(file, Build())
    other = ArrayFile(file.folder, {"what": "other numbers"}, "")
    assert other.open() is None
    assert other.path != file.path


def test_writing_to_what_was_read_changes_no_file(file):
    found, _ = get(file, Build())
    found.zero_()
    assert torch.equal(file.open()[0], VALUES)


def corruptions():
    size = VALUES.numel() * 4
    return {
        "empty": lambda content: b"",
        "cut in the array": lambda content: content[: size // 2],
        "cut after the array": lambda content: content[:size],
        "cut in the last byte": lambda content: content[:-1],
        "a byte of the array changed": lambda content: content[:17] + bytes([content[17] ^ 1]) + content[18:],
        "a stretch of zeros": lambda content: bytes(100) + content[100:],
        "a byte lost": lambda content: content[:17] + content[18:],
        "a byte more": lambda content: content[:17] + b"!" + content[17:],
        "another end": lambda content: content[:-5] + b"0000\n",
        "broken facts": lambda content: content.replace(b'"stretches"', b'"stretched"'),
        "facts that are no JSON": lambda content: content.replace(b"{", b"["),
        "a length beyond the file": lambda content: content[:-27] + b"\xff" * 8 + content[-19:],
        "some other file": lambda content: b"something else altogether",
    }


@pytest.mark.parametrize("damage", corruptions().values(), ids=corruptions())
def test_a_damaged_file_is_never_used(file, damage):
    get(file, Build())
    content = file.path.read_bytes()
    assert damage(content) != content
    file.path.write_bytes(damage(content))
    assert file.open() is None
    build = Build()
    assert torch.equal(get(file, build)[0], VALUES)
    assert build.times == 1
    assert file.path.read_bytes() == content


def test_a_build_that_fails_leaves_nothing(file):
    def half(draft):
        draft.write(0, VALUES[:3])
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        get(file, half)
    assert not list(file.folder.glob("*.array"))
    assert not list(file.folder.glob("*.part"))


def test_rows_that_were_forgotten_are_found_out(file):
    with pytest.raises(InputError, match="reads back damaged"):
        get(file, lambda draft: draft.write(0, VALUES[:3]))


def test_what_a_killed_build_left_behind_is_overwritten(file):
    child = os.fork()
    if child == 0:

        def killed(draft):
            draft.write(0, VALUES[:3])
            os.kill(os.getpid(), 9)

        get(file, killed)
    os.waitpid(child, 0)
    assert [path.suffix for path in file.folder.glob("*.part")] == [".part"]
    assert file.open() is None
    assert torch.equal(get(file, Build())[0], VALUES)
    assert not list(file.folder.glob("*.part"))


def test_processes_that_start_together_share_one_build(file, tmp_path):
    def slow(draft):
        (tmp_path / f"built-{os.getpid()}").touch()
        time.sleep(0.5)
        return Build(extra=os.getpid())(draft)

    children = []
    for _ in range(3):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                found, extra = get(file, slow)
                (tmp_path / f"read-{os.getpid()}").write_text(json.dumps([extra, found.sum().item()]))
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
    (builder,) = tmp_path.glob("built-*")
    seen = [json.loads(path.read_text()) for path in tmp_path.glob("read-*")]
    assert seen == [[int(builder.name[6:]), VALUES.sum().item()]] * 3


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_full_disk_is_one_line(file, monkeypatch, number):
    def full(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(caches.os, "pwrite", full)
    with pytest.raises(InputError) as error:
        get(file, Build())
    assert (
        str(error.value) == f"cannot write the cache {file.path}: {os.strerror(number)}; set paths.cache_dir=<folder>"
    )
    assert not list(file.folder.glob("*.part"))


def test_no_room_is_known_before_anything_is_computed(file, monkeypatch):
    monkeypatch.setattr(caches.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 2**20 - 1}))
    build = Build()
    with pytest.raises(InputError, match=r"cannot write the cache .*: 4 MiB needed, 1 MiB free; set paths\.cache_dir"):
        file.get("numbers", (1024, 1024), torch.float32, build)
    assert build.times == 0


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(InputError, match="cannot write the cache"):
        get(ArrayFile(tmp_path / "cache" / "images", {}, ""), Build())


def test_files_are_known_by_path_size_and_time(tmp_path):
    paths = [tmp_path / name for name in ("a", "b")]
    for path in paths:
        path.write_text("one")
    names = [str(path) for path in paths]
    first = digest_of_files(names)
    assert digest_of_files(names) == first
    assert digest_of_files(names[::-1]) != first
    os.utime(paths[0], ns=(0, paths[0].stat().st_mtime_ns + 1))
    second = digest_of_files(names)
    assert second != first
    paths[1].write_text("three")
    assert digest_of_files(names) not in (first, second)
    paths[1].unlink()
    with pytest.raises(InputError, match=r"cannot read the image .*/b: No such file"):
        digest_of_files(names)


def test_tensors_are_known_by_shape_dtype_and_bytes():
    values = torch.arange(12, dtype=torch.uint8)
    first = digest_of_tensor(values)
    assert digest_of_tensor(values.clone()) == first
    assert digest_of_tensor(values.view(3, 4)) != first
    assert digest_of_tensor(values.to(torch.int8)) != first
    assert digest_of_tensor(values.view(3, 4).T) == digest_of_tensor(values.view(3, 4).T.contiguous())
    values[3] += 1
    assert digest_of_tensor(values) != first
    assert digest_of_tensor(torch.empty(0)) != digest_of_tensor(torch.empty(0, 2))
