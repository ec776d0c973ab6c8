"""What has run out, in one line."""

import errno
import re
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch

from metriscope.files import LinkRefused
from metriscope.run.shortages import shortage

Usage = namedtuple("Usage", "total used free")


def full(filename=None):
    error = OSError(errno.ENOSPC, "No space left on device")
    error.filename = filename
    return error


@pytest.fixture
def disks(monkeypatch):
    """Free bytes of /dev/shm; every other disk has 2.5 MB left."""

    def put(shared):
        free = {"/dev/shm": shared}
        monkeypatch.setattr("shutil.disk_usage", lambda path: Usage(64e6, 0, free.get(str(path), 2.5e6)))

    put(60e6)
    return put


def test_a_full_disk_says_where_how_much_and_which_key(tmp_path, disks):
    path = tmp_path / "checkpoints" / "last.ckpt"
    assert shortage(full(str(path)), tmp_path) == (
        f"cannot write to {path}: No space left on device (2.5 MB free): make room, or set paths.output_dir"
    )
    assert shortage(full(), tmp_path).startswith(f"cannot write to {tmp_path}: ")


SHARED = "unable to write to file </torch_4242_17_0>: No space left on device (28)"
# As torch says it.
BUS = "killed by signal: Bus error. It is possible that dataloader's workers are out of shared memory. Please try"


@pytest.mark.parametrize("error", [full(), RuntimeError(SHARED), RuntimeError(BUS)])
@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs shared memory")
def test_shared_memory_is_not_the_run_folder(tmp_path, disks, error):
    disks(4096)
    line = shortage(error, tmp_path)
    assert line.startswith("/dev/shm is full (0.0 MB free of 64 MB): set dataset.num_workers=0 or lower")


def raised(call):
    with pytest.raises((RuntimeError, MemoryError)) as caught:
        call()
    return caught.value


CUDA = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 8 GiB")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (CUDA, r"the GPU is out of memory \(2.00 GiB more were asked for\): lower sampler.batch_size, or evaluation"),
        (
            RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly"),
            r"a process that loads data was killed: run",
        ),
        (MemoryError(), r"this machine is out of memory: lower sampler.batch_size, or evaluation.batch_size"),
        (raised(lambda: torch.empty(10**15)), r"this machine is out of memory \(4000000000000000 bytes more were"),
        (raised(lambda: np.empty(10**16)), r"this machine is out of memory \(71.1 PiB more were asked for\): lower"),
    ],
)
def test_memory(tmp_path, error, line):
    assert re.match(line, shortage(error, tmp_path))


def test_a_folder_that_is_gone_and_a_link_in_its_place(tmp_path):
    gone = tmp_path / "gone"
    line = f"{gone} was taken away while the run wrote to it: run again"
    assert shortage(FileNotFoundError(2, "No such file", str(gone / "run.json")), gone) == line
    link = LinkRefused(errno.ELOOP, "it is a link", str(tmp_path / "checkpoints"))
    assert shortage(link, tmp_path) == f"cannot write to {tmp_path / 'checkpoints'}: it is a link; remove it"


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("size mismatch"),
        RuntimeError("out of resource: shared memory, Required: 131072"),
        PermissionError(13, "denied", "data/a.png"),
        KeyError(1),
    ],
)
def test_other_errors_stay_what_they_are(tmp_path, error):
    assert shortage(error, tmp_path) is None
