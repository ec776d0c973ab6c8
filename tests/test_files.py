import json
import math
import os
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from metriscope.files import LinkRefused, drafts, folder_in, replacing, replacing_folder, write_json


def test_json_turns_what_it_cannot_say_into_null_and_text(tmp_path: Path) -> None:
    data = {"a": math.nan, "b": [1, math.inf, np.float32(0.5)], "c": {"d": Path("x/y")}, "e": np.float64("nan")}
    write_json(tmp_path / "a.json", data)
    read = json.loads((tmp_path / "a.json").read_text())
    assert read == {"a": None, "b": [1, None, 0.5], "c": {"d": "x/y"}, "e": None}


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    with suppress(KeyError), replacing(path) as draft:
        draft.write_text("half")
        raise KeyError
    assert json.loads(path.read_text()) == {"a": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


def test_no_link_is_followed(tmp_path: Path) -> None:
    victim, path = tmp_path / "victim", tmp_path / "a.json"
    victim.write_text("mine")
    path.symlink_to(victim)
    write_json(path, {"a": 1})
    assert victim.read_text() == "mine"
    assert json.loads(path.read_text()) == {"a": 1}
    assert not path.is_symlink()


def test_a_guessed_draft_is_not_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "victim").write_text("mine")
    (tmp_path / ".metriscope-0123456789abcdef-a.json").symlink_to("victim")
    monkeypatch.setattr("secrets.token_hex", lambda size: "0123456789abcdef")
    with pytest.raises(FileExistsError):
        write_json(tmp_path / "a.json", {"a": 1})
    assert (tmp_path / "victim").read_text() == "mine"


def test_drafts_are_those_of_this_program_alone(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "elsewhere").mkdir()
    mine = tmp_path / "deep" / ".metriscope-0123456789abcdef-a.json"
    mine.touch()
    for name in (".1234-notes.txt", ".metriscope-notes", ".metriscope-0123456789abcdeg-a", "elsewhere/.metriscope-"):
        (tmp_path / name).touch()
    (tmp_path / "deep" / ".metriscope-0000000000000000-link").symlink_to(tmp_path / ".1234-notes.txt")
    assert drafts(tmp_path) == [mine]


def test_a_writer_makes_no_folder(tmp_path: Path) -> None:
    path = tmp_path / "gone" / "a.json"
    with pytest.raises(FileNotFoundError) as caught:
        write_json(path, {"a": 1})
    assert caught.value.filename == str(path)
    assert not path.parent.exists()


def test_a_folder_of_results_is_no_link(tmp_path: Path) -> None:
    assert folder_in(tmp_path, "report") == folder_in(tmp_path, "report") == tmp_path / "report"
    (tmp_path / "link").symlink_to(tmp_path / "report")
    with pytest.raises(LinkRefused, match="it is a link") as caught:
        folder_in(tmp_path, "link")
    assert caught.value.filename == str(tmp_path / "link")
    with pytest.raises(FileNotFoundError):
        folder_in(tmp_path / "gone", "report")


def test_a_folder_is_there_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "above" / "out"
    with suppress(RuntimeError), replacing_folder(out) as draft:
        (draft / "a").write_text("1")
        raise RuntimeError
    assert list(out.parent.iterdir()) == []
    with replacing_folder(out) as draft:
        (draft / "a").write_text("1")
        assert not out.exists()
    with pytest.raises(FileExistsError), replacing_folder(out) as draft:
        (draft / "a").write_text("2")
    assert (out / "a").read_text() == "1"
    rename, calls = os.rename, []

    def fails_second(*paths: Path) -> None:
        calls.append(paths)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        rename(*paths)

    monkeypatch.setattr(os, "rename", fails_second)
    with pytest.raises(OSError, match="No space left"), replacing_folder(out, overwrite=True) as draft:
        (draft / "a").write_text("2")
    monkeypatch.setattr(os, "rename", rename)
    assert (out / "a").read_text() == "1"
    with replacing_folder(out, overwrite=True) as draft:
        (draft / "b").write_text("2")
    assert [path.name for path in out.iterdir()] == ["b"]
    assert [path.name for path in out.parent.iterdir()] == ["out"]
