"""Looking at locks."""

import os
from pathlib import Path

from filelock import FileLock

from metriscope.run.locks import is_held


def test_looking_leaves_a_lock_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    assert not is_held(path)
    assert not path.exists()
    path.write_text("notes")
    assert not is_held(path)
    assert path.read_text() == "notes"
    with FileLock(path):
        assert is_held(path)
    assert not is_held(path)


def test_a_link_and_a_pipe_are_not_opened(tmp_path: Path) -> None:
    victim, link, pipe = tmp_path / "victim", tmp_path / "link.lock", tmp_path / "pipe.lock"
    victim.write_text("mine")
    link.symlink_to(victim)
    assert is_held(link)
    assert victim.read_text() == "mine"
    os.mkfifo(pipe)
    assert not is_held(pipe)
