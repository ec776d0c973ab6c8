"""Folders of distractors that cannot serve are refused in one line."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from metriscope.data.distractors import load_distractors
from metriscope.data.examples import Examples
from metriscope.data.inputs.images import ImageFiles
from metriscope.data.splits import Splits
from metriscope.errors import InputError


def splits_of(paths: Sequence[Path], queries: list[bool] | None = None) -> Splits:
    labels = torch.zeros(len(paths), dtype=torch.int64)
    part = Examples(ImageFiles(tuple(map(str, paths)), exif=True), labels, ("a",))
    return Splits(part, None, part, "closed_set", queries=None if queries is None else torch.tensor(queries))


def written(folder: Path, **contents: str) -> list[Path]:
    folder.mkdir(exist_ok=True)
    for name, content in contents.items():
        (folder / f"{name}.png").write_text(content)
    return [folder / f"{name}.png" for name in contents]


def test_images_of_a_folder_and_below_are_read_as_those_of_the_test_part(tmp_path: Path) -> None:
    splits = splits_of(written(tmp_path / "test", a="one", b="two"))
    others = tmp_path / "others"
    paths = written(others, c="six") + written(others / "deeper", a="ten")
    (others / "notes.txt").write_text("one")
    files = load_distractors(str(others), splits)
    assert files.paths == tuple(map(str, paths))
    assert files.exif


def test_a_query_is_no_distractor(tmp_path: Path) -> None:
    paths = written(tmp_path / "test", query="one", gallery="two")
    others = tmp_path / "others"
    written(others, x="two", y="six")
    with pytest.raises(InputError, match=r"x\.png is the test query .*gallery\.png: take it out"):
        load_distractors(str(others), splits_of(paths))
    splits = splits_of(paths, [True, False])
    assert len(load_distractors(str(others), splits)) == 2, "it is in the gallery alone"
    (others / "z.png").symlink_to(paths[0])
    with pytest.raises(InputError, match=r"z\.png is the test query .*query\.png: take it out"):
        load_distractors(str(others), splits)


def test_what_cannot_be_distractors(tmp_path: Path) -> None:
    splits = splits_of(written(tmp_path / "test", a="one"))
    with pytest.raises(InputError, match=r"evaluation\.distractors=.*missing is no folder"):
        load_distractors(str(tmp_path / "missing"), splits)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty holds no images"):
        load_distractors(str(tmp_path / "empty"), splits)
    part = Examples(torch.zeros(2, 3), torch.zeros(2, dtype=torch.int64), ("a",))
    with pytest.raises(InputError, match="only data sets of image files take distractors"):
        load_distractors(str(tmp_path), Splits(part, None, part, "closed_set"))
