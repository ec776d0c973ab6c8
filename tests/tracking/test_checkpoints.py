"""Callbacks that save checkpoints."""

from pathlib import Path

import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from metriscope.tracking.checkpoints import BestCheckpoint


def _best(folder: Path) -> BestCheckpoint:
    return BestCheckpoint(dirpath=folder, filename="best", monitor="val/map_at_r", mode="max", save_top_k=1)


def test_the_best_value_is_known_in_a_folder_that_has_moved(tmp_path: Path) -> None:
    before, after = _best(tmp_path / "a"), _best(tmp_path / "b")
    path = str(tmp_path / "a" / "best.ckpt")
    before.best_model_path = before.kth_best_model_path = path
    before.best_model_score = before.kth_value = torch.tensor(0.7)
    before.best_k_models = {path: torch.tensor(0.7)}
    after.load_state_dict(before.state_dict())
    moved = str(tmp_path / "b" / "best.ckpt")
    assert after.best_model_path == after.kth_best_model_path == moved
    assert after.best_k_models == {moved: torch.tensor(0.7)}
    assert after.best_model_score == after.kth_value == torch.tensor(0.7)


def test_the_state_is_found_under_the_name_of_lightning(tmp_path: Path) -> None:
    own = ModelCheckpoint(dirpath=tmp_path, monitor="val/map_at_r", mode="max")
    assert _best(tmp_path).state_key == own.state_key
