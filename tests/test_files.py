import json
import math
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from metriscope.files import replacing, write_json


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
