"""A run that reports which training labels may be wrong."""

import csv
import json

import torch

from metriscope.app import train


def test_the_report_is_of_the_whole_training_not_of_the_best_epoch(tiny, tmp_path):
    words = ("loss=infonce", "weighting=dbpm", "weighting.hard=0.5", "dataset.label_noise=0.2", "logger=files")
    cfg = tiny(*words, "logger.figures=false", "trainer.max_epochs=3", "optimizer.lr=0.2")
    cfg.paths.output_dir = str(tmp_path)
    outcome = train(cfg)
    with (outcome.folder / "suspects.csv").open(newline="", encoding="utf-8") as file:
        written = list(csv.DictReader(file))
    metrics = json.loads((outcome.folder / "summary.json").read_text())
    last = torch.load(outcome.folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    total, count = (last[f"objective.weighting.history.{name}"].double() for name in ("total", "count"))
    assert {int(row["position"]): float(row["mean_loss"]) for row in written} == {
        k: float(total[k] / count[k]) for k in count.nonzero()[:, 0].tolist()
    }
    hard = [row for row in written if row["suspect"] == "too hard"]
    right = sum(row["class"] != row["true_class"] for row in hard)
    assert metrics["train/suspects"] == len(hard) > 0
    assert metrics["train/suspects_precision"] == right / len(hard)
    assert metrics["train/suspects_recall"] == right / 18
