"""The training commands of README.md and docs/ run: as they are written but shorter, and on data that are at hand."""

import csv
import re
import shlex
from pathlib import Path

import pytest
import served
import written

from metriscope.cli import run

pytestmark = pytest.mark.processes

# Data that nobody ships, weights of others, large images and launchers have stand-ins; other tests read and start them.
STAND_INS = {
    r"dataset=(cub|mnist|mnist,cifar10)": "dataset=digits",
    r"dataset\.download=true": "",
    r"backbone\.weights=\w+": "backbone.weights=null",
    r"backbone=efficientnet_lite0": "backbone=efficientnet_lite0 backbone.weights=null",
    r"hydra/launcher=(slurm|joblib)": "",
    r"hydra\.launcher\.\w+=\S+": "",
    r"dataset\.path=(\S+)": r"dataset.path=\1 augmentation.size=32 dataset.num_workers=0",
    r"dataset\.image_size=112": "dataset.image_size=32",
    r"seed=range\(\d\)": "seed=0",
    r"sweep=optuna_tpe": "sweep=optuna_tpe sweep.trials=2",
    r"trainer\.max_epochs=\d+": "",
}
SHORT = ["trainer=cpu", "trainer.max_epochs=1", "trainer.limit_train_batches=1", "sampler.batch_size=8"]
SHOWN = {"--help", "--hydra-help", "-sc"}
# Two processes: tests/test_distributed.py starts them.
COMMANDS = [
    line
    for line in [
        *written.lines("python train"),
        *written.lines("metriscope train"),
        *written.inline("python train.py "),
    ]
    if not SHOWN & set(line.split()) and "strategy=ddp" not in line and len(line.split()) > 3
]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight classes in folders, with a list that names the class, the species and a box of each."""
    root = served.write_images(tmp_path_factory.mktemp("written") / "photos", classes=8, each=12)
    files = sorted(root.rglob("*.png"))
    with (root / "list.csv").open("w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file)
        lines.writerow(["path", "label", "species", "x", "y", "width", "height"])
        lines.writerows([path.relative_to(root), path.parent.name, path.parent.name, 1, 1, 15, 15] for path in files)
    return root


@pytest.mark.parametrize("command", COMMANDS)
def test_training_commands_run(command, photos, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").symlink_to(photos)
    for pattern, word in STAND_INS.items():
        command = re.sub(rf"(?<!\S)'?{pattern}'?(?!\S)", word, command)
    words = shlex.split(command)[2:]
    assert run("train", [*words, *SHORT, *([] if "logger=" in command else ["logger=none"])]) == 0
    assert "Recall@1" in capsys.readouterr().out


# Others fetch published data (tests/commands/test_data.py) or need pretrained weights (tests/test_frozen_trunks.py).
OTHERS = [
    line
    for command in ("evaluate outputs", "status", "export", "data audit")
    for line in written.lines(f"metriscope {command}")
]


@pytest.mark.parametrize("command", OTHERS)
def test_commands_about_runs_and_data_run(command, served, photos, tmp_path, monkeypatch):
    if "--onnx" in command:
        pytest.importorskip("onnxruntime")
    run_folder = served[0]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").symlink_to(photos)
    command = re.sub(r"outputs/default/\S+", str(run_folder), command)
    command = re.sub(r"outputs/\w+(?!\S)", str(run_folder.parents[2]), command)
    command = re.sub(r"dataset=cars196( dataset.verify=false)?", "dataset=folder dataset.path=photos", command)
    name, *words = shlex.split(command)[1:]
    if name == "evaluate":
        words.append(f"paths.output_dir={tmp_path}")
    assert run(name, words) == 0


def test_fair_comparisons_run(tmp_path, monkeypatch, capsys):
    *commands, report = sorted(written.lines("metriscope fair"), key=lambda line: "--report" in line)
    monkeypatch.chdir(tmp_path)
    for command in commands:
        words = [word for word in shlex.split(command)[2:] if not word.startswith(("trials=", "repeats=", "folds="))]
        shorter = ["trials=1", "folds=2", "repeats=1", "workers=0", "trainer=cpu", "trainer.limit_train_batches=1"]
        assert run("fair", [*words, *shorter]) == 0
        assert "repeats finished" in capsys.readouterr().out
    for name, *rest in (shlex.split(report)[1:], ["compare", "outputs/fair"]):
        assert run(name, rest) == 0
