import json

import pytest
from tiny_runs import TINY

from metriscope.app import train
from metriscope.config.compose import compose_config
from metriscope.errors import RunError
from metriscope.run.trials import open_storage

optuna = pytest.importorskip("optuna")


def test_a_trial_that_is_behind_is_pruned(tmp_path):
    """Against a storage in which the others are far ahead."""
    words = ["sweep=optuna_tpe", "sweep.pruner.n_startup_trials=1", "sweep.pruner.n_warmup_steps=0", "sweep.trial=1"]
    cfg = compose_config([*TINY, *words, f"paths.output_dir={tmp_path}"]).copy()
    storage = open_storage(tmp_path / "default" / "optuna.db") if (tmp_path / "default").mkdir() is None else None
    study = optuna.create_study(storage=storage, study_name="default", direction="maximize")
    ahead = study.ask()
    for epoch in range(2):
        ahead.report(2.0, epoch)
    study.tell(ahead, 2.0)
    study.ask()
    with pytest.raises(RunError, match=r"pruned after epoch 1: val/map_at_r is behind the other trials"):
        train(cfg)
    (path,) = tmp_path.glob("default/*/*/*/run.json")
    assert json.loads(path.read_text())["status"] == "pruned"
    assert (path.parent / "checkpoints" / "last.ckpt").exists(), "it could be resumed"
    assert list(study.trials[1].intermediate_values) == [0]
