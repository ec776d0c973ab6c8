from pathlib import Path

import pytest

from metriscope.errors import InputError
from metriscope.run.entries import check_entries, check_place


def test_what_a_run_leaves_is_allowed(tmp_path: Path) -> None:
    folder, lock = tmp_path / "study" / "a-b" / "c-d" / "seed0-0", tmp_path / "study" / ".locks" / "seed0-0.lock"
    check_place(folder, lock)  # nothing is there
    for name in ("checkpoints", "figures", "tensorboard", "wandb"):
        (folder / name).mkdir(parents=True)
    for name in ("config.yaml", "run.json", "metrics.csv", "summary.json", "train.log", "checkpoints/last.ckpt"):
        (folder / name).touch()
    (folder / "wandb" / "latest-run").symlink_to("run-1")
    lock.parent.mkdir()
    lock.touch()
    check_place(folder, lock)
    check_entries(folder)


def test_the_folders_of_a_study_may_be_links_and_those_below_may_not(tmp_path: Path) -> None:
    (tmp_path / "scratch" / "a-b" / "c-d" / "seed0-0").mkdir(parents=True)
    (tmp_path / "study").symlink_to("scratch")
    place = tmp_path / "study" / "a-b" / "c-d" / "seed0-0"
    check_place(place, tmp_path / "study" / ".locks" / "seed0-0.lock")
    (tmp_path / "scratch" / "e-f").symlink_to("a-b")
    with pytest.raises(InputError, match=r"e-f is a link.*move it away"):
        check_place(tmp_path / "study" / "e-f" / "c-d" / "seed0-0", tmp_path / "study" / ".locks" / "seed0-0.lock")
