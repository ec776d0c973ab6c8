"""Sorts of files, of JSON and of YAML are in the hostile study; here are the bounds."""

from pathlib import Path

import pytest

from metriscope.reading import MAX_DEPTH, bounded, kind_of, opened, parse_json, parse_yaml, read_bytes


def test_a_regular_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert kind_of(path) is None
    assert read_bytes(path, 5) == b"12345"
    with pytest.raises(ValueError, match="5 bytes, and 4 are the limit"):
        read_bytes(path, 4)
    with pytest.raises(FileNotFoundError):
        read_bytes(tmp_path / "none", 5)


def test_what_is_put_in_place_of_a_file_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "victim").write_text("mine")
    (tmp_path / "link").symlink_to("victim")
    assert kind_of(tmp_path / "link") == "a link, which is not followed"
    monkeypatch.setattr("metriscope.reading.kind_of", lambda path: None)
    with pytest.raises(OSError, match="symbolic links"), opened(tmp_path / "link", 10):
        pass


@pytest.mark.parametrize("parse", [parse_json, lambda content: parse_yaml(content.decode())])
def test_depth_is_bounded(parse) -> None:  # type: ignore[no-untyped-def]
    def nested(levels: int) -> bytes:
        return b"[" * levels + b"]" * levels

    parse(nested(MAX_DEPTH))
    with pytest.raises(ValueError, match="more than 32 lists or mappings inside each other"):
        parse(nested(MAX_DEPTH + 1))


def test_values_and_numbers_are_bounded() -> None:
    assert bounded([2**64 - 1, -(2**63), 1.5, None, True, {"a": 1}])
    for number in (2**64, -(2**63) - 1):
        with pytest.raises(ValueError, match="beyond 64 bits"):
            bounded({"a": [number]})
    assert len(parse_json(b"[" + b"1," * 99 + b"1]", 100)) == 100
    with pytest.raises(ValueError, match="more than 99 values"):
        parse_json(b"[" + b"1," * 99 + b"1]", 99)


def test_aliases_count_as_what_they_stand_for() -> None:
    assert parse_yaml("one: &a [1]\ntwo: *a\n") == {"one": [1], "two": [1]}
    with pytest.raises(ValueError, match="values"):
        parse_yaml("a: &a [" + "x, " * 1000 + "]\nb: [" + "*a, " * 1000 + "]\n")
