from types import SimpleNamespace

import pytest

from metriscope.data import shared_memory
from metriscope.data.shared_memory import check_room
from metriscope.errors import InputError


def test_batches_that_do_not_fit_are_refused_before_workers_start(tmp_path, monkeypatch):
    monkeypatch.setattr(shared_memory.shutil, "disk_usage", lambda path: SimpleNamespace(free=64 * 2**20))
    check_room(10, 2**20, 2)
    with pytest.raises(InputError, match=r"64 MiB free, and batches of 2 workers need 100 MiB: .*num_workers=0"):
        check_room(10, 10 * 2**20, 2)


def test_a_system_without_such_a_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(shared_memory, "SHARED_MEMORY", tmp_path / "none")
    check_room(10, 2**60, 2)
