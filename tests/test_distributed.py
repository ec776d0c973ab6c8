"""Two processes: one of them keeps the run folder, and together they measure what one measures."""

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import layouts
import numpy as np
import pytest
import torch
from forks import DDP, on_ranks, started
from omegaconf import OmegaConf
from tiny_runs import COMPOSER, TINY

from metriscope.app import train
from metriscope.build.run import data_of, learner_of, trainer_of
from metriscope.config.plain import plain
from metriscope.data.datasets import synthetic
from metriscope.data.samplers import ClassBalancedBatchSampler
from metriscope.errors import InputError
from metriscope.evaluation.verification import tiled
from metriscope.run.folder import Run, open_run
from metriscope.run.history import read_history
from metriscope.signals import Stop

pytestmark = pytest.mark.processes


def rows(folder):
    return read_history(folder / "metrics.csv")


@pytest.fixture
def trained(run):
    """A run on one process, with more evaluation batches than processes, and of unequal length."""
    return run("trainer.max_epochs=1", "evaluation.batch_size=12")


def test_evaluation_is_the_same_on_one_and_on_two_processes(tiny, trained, tmp_path):
    checkpoint = trained.folder / "checkpoints" / "best.ckpt"

    def evaluate():
        cfg = tiny(
            "evaluation.batch_size=12", "evaluation.layers=[trunk,embedding]", *(DDP if "RANK" in os.environ else ())
        )
        data = data_of(plain(cfg))
        module = learner_of(plain(cfg), data)
        run = Run(tmp_path / "none", OmegaConf.to_container(cfg, resolve=True), None)
        trainer = trainer_of(run, data, [], Stop())
        found = {}
        for part in (trainer.validate, trainer.test):
            part(module, datamodule=data, ckpt_path=checkpoint, weights_only=True, verbose=False)
            found |= {key: float(value) for key, value in trainer.callback_metrics.items()}
        assert trainer.world_size == int(os.environ.get("WORLD_SIZE", 1))
        name = f"{trainer.world_size}-{trainer.global_rank}.json"
        (tmp_path / name).write_text(json.dumps(found))

    evaluate()
    on_ranks(evaluate)
    alone, first, second = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("1-0", "2-0", "2-1"))
    assert {key.split("/")[0] for key in alone} == {"val", "test"}
    wanted = {"val/map_at_r", "test/recall_at_1", "test/variance_intra", "val/loss", "val/active_ratio"}
    assert wanted | {"test/mrr", "test/recall_at_1_trunk", "test/variance_intra_trunk"} <= set(alone)
    assert first == second
    assert first == pytest.approx(alone, rel=1e-9)


def test_distractors_and_pairs_are_shared_by_two_processes(tmp_path, monkeypatch):
    for part, count in (("train", 3), ("query", 1), ("gallery", 2)):
        for label in range(3):
            for number in range(count):
                layouts.image(tmp_path / "own" / part / f"{label}" / f"{part}{number}.png", label, number + label)
    for number in range(9):
        layouts.image(tmp_path / "others" / f"{number}.png", 5, 40 + number)
    monkeypatch.setattr(tiled, "SHARED_TILES", 2)
    monkeypatch.setattr(tiled, "SIDE", 2)
    words = (
        "dataset=folder", f"dataset.path={tmp_path / 'own'}", f"evaluation.distractors={tmp_path / 'others'}",
        "backbone=small_cnn", "dataset.image_size=16", "dataset.cache=none", "dataset.num_workers=0",
        "dataset.validation=0", "loss=triplet", "sampler.batch_size=8", "trainer=cpu", "logger=none",
        "diagnostics=none",
        # 5 batches of distractors, of which one has a single image: unequal shares.
        "evaluation.batch_size=2", "evaluation.metrics.pair_auc=true", f"paths.output_dir={tmp_path / 'outputs'}",
    )  # fmt: skip

    def evaluate():
        cfg = COMPOSER([*words, *(DDP if "RANK" in os.environ else ())])
        torch.manual_seed(0)
        data = data_of(plain(cfg))
        module = learner_of(plain(cfg), data)
        trainer = trainer_of(Run(tmp_path / "none", OmegaConf.to_container(cfg, resolve=True), None), data, [], Stop())
        trainer.test(module, datamodule=data, verbose=False)
        found = {key: float(value) for key, value in trainer.callback_metrics.items()}
        torch.save((found, module.evaluated.distractors), tmp_path / f"{trainer.world_size}-{trainer.global_rank}.pt")

    evaluate()
    on_ranks(evaluate)
    (alone, others), *shared = (torch.load(tmp_path / f"{name}.pt") for name in ("1-0", "2-0", "2-1"))
    assert {"test/recall_at_1", "test/pair_auc"} <= set(alone)
    assert len(others) == 9
    for found, distractors in shared:
        assert found == pytest.approx(alone, rel=1e-6)
        torch.testing.assert_close(distractors, others)


def test_one_process_alone_writes(tiny, tmp_path):
    cfg = tiny(*DDP, "evaluation.save_embeddings=true", "evaluation.classification=true")

    def work():
        outcome = train(cfg)
        rank = os.environ["RANK"]
        torch.save(outcome.module.state_dict(), tmp_path / f"weights-{rank}.pt")

    on_ranks(work, ready=started(cfg))
    (folder,) = (path.parent for path in Path(cfg.paths.output_dir).rglob("run.json"))
    found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert found == [
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
        "config.yaml",
        "embeddings.npz",
        "metrics.csv",
        "run.json",
        "summary.json",
        "train.log",
    ]
    record = json.loads((folder / "run.json").read_text())
    assert (record["status"], record["pid"] == os.getpid()) == ("finished", False)
    steps = [row["step"] for row in rows(folder) if "train/loss_step" in row]
    assert steps == list(range(6)), "5 batches of an epoch are 3 for each process"
    summary = json.loads((folder / "summary.json").read_text())
    assert {"train/loss", "val/map_at_r", "test/map_at_r", "test/knn_accuracy", "test/linear_probe_accuracy"} <= set(
        summary
    )
    one, other = (torch.load(tmp_path / f"weights-{rank}.pt", weights_only=True) for rank in (0, 1))
    assert all(torch.equal(one[name], other[name]) for name in one if "running" not in name)


def test_a_sampler_of_ones_own_is_divided_among_the_processes(tiny, tmp_path):
    cfg = tiny(*DDP, "sampler._target_=own_parts.Drawn", "trainer.max_epochs=1")

    def work():
        sampler = train(cfg).data.train_batch_sampler
        sampler.set_epoch(0)
        shown = {"place": [sampler.rank, sampler.world_size], "batches": list(sampler)}
        (tmp_path / f"{os.environ['RANK']}.json").write_text(json.dumps(shown))

    on_ranks(work, ready=started(cfg))
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert (first["place"], second["place"]) == ([0, 2], [1, 2])
    alone = list(data_of(plain(cfg)).train_batch_sampler)
    assert len(alone) == 5
    assert [first["batches"][k // 2] if k % 2 == 0 else second["batches"][k // 2] for k in range(5)] == alone


def test_a_finished_run_is_known_to_both(tiny):
    cfg = tiny(*DDP, "trainer.max_epochs=1")
    on_ranks(lambda: train(cfg), ready=started(cfg))
    with open_run(OmegaConf.to_container(cfg, resolve=True)) as run:
        ended = run.record.ended
    on_ranks(lambda: train(cfg), ready=started(cfg))
    with open_run(OmegaConf.to_container(cfg, resolve=True)) as run:
        assert run.record.ended == ended


def test_other_data_are_refused_by_both(tiny, monkeypatch):
    cfg = tiny(*DDP, "trainer.max_epochs=1")
    on_ranks(lambda: train(cfg), ready=started(cfg))
    load = synthetic.load
    monkeypatch.setattr(synthetic, "load", lambda **options: load(**{**options, "data_seed": 1}))
    (path,) = Path(cfg.paths.output_dir).rglob("run.json")
    finished = json.loads(path.read_text())

    def refused():
        with pytest.raises(InputError, match="values differ"):
            train(cfg)

    on_ranks(refused)
    assert json.loads(path.read_text()) == finished
    path.write_text(json.dumps(finished | {"status": "interrupted"}))
    on_ranks(refused)
    found = json.loads(path.read_text())
    assert (found["status"], found["data"]) == ("failed", finished["data"])


def test_it_does_not_matter_who_comes_first(tiny):
    """The other process may look at the folder before the one that keeps it does."""
    cfg = tiny(*DDP, "trainer.max_epochs=1")
    a_second_later = time.monotonic() + 1
    on_ranks(lambda: train(cfg), first=1, ready=lambda: time.monotonic() > a_second_later)


def test_the_command_line_starts_the_second_process_itself(tmp_path):
    words = [*TINY, *DDP, "trainer.max_epochs=1", f"paths.output_dir={tmp_path}"]
    root = Path(__file__).parents[1]
    result = subprocess.run(
        [sys.executable, str(root / "train.py"), *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert result.returncode == 0, result.stderr
    (record,) = tmp_path.rglob("run.json")
    assert json.loads(record.read_text())["status"] == "finished"
    assert result.stdout.count("run folder:") == 1
    assert not list(tmp_path.glob("*.log")), "nothing beside the run folder"
    assert {path.name for path in tmp_path.iterdir()} == {"default"}
    assert "sync_dist" not in result.stderr, "advice of Lightning that is none for metrics that are the same on all"


@pytest.mark.parametrize(
    "words",
    [
        ["loss=infonce", "mixture=mochi", "mixture.warmup_share=0"],
        ["loss=infonce", "mixture=metrix"],
        ["loss=proxy_anchor", "loss.synthesis={ratio: 0.5, alpha: 0.4}"],
    ],
    ids=["mochi", "metrix", "synthesis"],
)
def test_two_processes_learn_from_made_points_what_one_learns(tiny, tmp_path, monkeypatch, words):
    """One process gets in each step the batches that two get, so that both draw the same points between them."""
    exact = ["trainer.precision=64-true", "backbone.freeze_batch_norm=true", "trainer.max_epochs=1", *words]

    def work():
        outcome = train(tiny(*exact, *DDP))
        torch.save(outcome.module.state_dict(), tmp_path / f"{os.environ['RANK']}.pt")

    on_ranks(work, ready=started(tiny(*exact, *DDP)))
    batches, total = ClassBalancedBatchSampler.batches, ClassBalancedBatchSampler.total

    def joined(self, source):
        one, *others = batches(self, source)
        if not others:  # of the validation part
            return [one]
        # 5 batches are 3 for each process: the first one is there twice.
        every = [one, *others, one]
        return [np.concatenate(pair) for pair in zip(every[::2], every[1::2], strict=True)]

    monkeypatch.setattr(ClassBalancedBatchSampler, "batches", joined)
    monkeypatch.setattr(ClassBalancedBatchSampler, "total", lambda self: math.ceil(total(self) / 2))
    alone = train(tiny(*exact)).module.state_dict()
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        torch.testing.assert_close(found, alone, rtol=1e-9, atol=1e-9)
