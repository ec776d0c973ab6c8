"""The config of a run, and run folders that it leaves without training."""

import copy
import json

from metriscope.run.folder import open_run
from metriscope.run.record import FINISHED

CONFIG = {
    "seed": 3,
    "study": "trial",
    "tags": [],
    "resume": "auto",
    "paths": {"data_dir": "data", "output_dir": "outputs"},
    "dataset": {"name": "digits", "protocol": "closed_set", "download": False, "num_workers": 0, "fold": 0},
    "backbone": {"name": "mlp", "widths": [4]},
    "loss": {"name": "triplet", "margin": 0.2},
    "miner": {"name": "all"},
    "evaluation": {"monitor": "val/map_at_r", "memory_mb": 256, "save_embeddings": False},
    "diagnostics": {"name": "default"},
    "trainer": {"name": "cpu", "accelerator": "cpu", "max_epochs": 2, "log_every_n_steps": 10, "precision": "32-true"},
    "callbacks": {"name": "default"},
    "logger": {"name": "none", "wandb": None},
}


def changed(config, key, value):
    config = copy.deepcopy(config)
    *path, last = key.split(".")
    node = config
    for part in path:
        node = node[part]
    node[last] = value
    return config


def finish(config, status=FINISHED):
    with open_run(config) as run:
        run.start()
        (run.folder / "checkpoints").mkdir()
        run.last_checkpoint.write_bytes(b"state")
        (run.folder / "summary.json").write_text('{"test/map_at_r": 0.5}')
        (run.folder / "metrics.csv").write_text("epoch,step\n")
        run.end(status, None if status == FINISHED else "because")
    return run


def record(run):
    return json.loads((run.folder / "run.json").read_text())
