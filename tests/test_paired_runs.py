"""Whole runs on pairs of two modalities."""

import os
import shutil

import numpy as np
import pytest
import torch
from forks import DDP, on_ranks, started
from interruptions import At, interrupt, record, same, stopped, traces
from tiny_runs import COMPOSER

from metriscope.app import train
from metriscope.build.run import data_of, learner_of, trainer_of
from metriscope.config.plain import plain
from metriscope.run.folder import Run
from metriscope.signals import Stop

# 4 classes; 44 training, 4 validation and 48 test pairs; an epoch of 5 batches of 8 pairs.
TINY = (
    "dataset=paired_synthetic", "dataset.classes=4", "dataset.per_class=12", "dataset.sizes=[4,6]", "dataset.hidden=3",
    "backbone.first=[6]", "backbone.second=[7]", "backbone.size=5", "head.size=6", "sampler.batch_size=8",
    "sampler.classes_per_batch=4", "pairs_across=other", "trainer=cpu",
    "trainer.max_epochs=2", "trainer.log_every_n_steps=1", "logger=none",
)  # fmt: skip


@pytest.fixture
def pairs(tmp_path, quick_trainer):
    """Composes a config of a short run on pairs."""

    def compose(*words):
        return COMPOSER([*TINY, f"paths.output_dir={tmp_path}/outputs", *words])

    return compose


def test_a_run_embeds_and_evaluates_both_sides(pairs):
    words = (
        "trainer.max_epochs=1",
        "evaluation.save_embeddings=true",
        "sampler=similar_classes",
        "sampler.labels=image",
    )
    outcome = train(pairs(*words, "sampler.classes_per_batch=2"))
    tested, part = outcome.module.evaluated, outcome.data.splits.test
    N = len(part)
    assert tested.positions.tolist() == list(range(2 * N))
    assert tested.side.tolist() == [0] * N + [1] * N
    assert torch.equal(tested.labels, part.labels.repeat(2))
    saved = np.load(outcome.folder / "embeddings.npz")
    assert saved["side"].tolist() == tested.side.tolist()
    assert saved["embeddings"].shape == (2 * N, 6)
    assert {"train/loss", "val/loss", "test/recall_at_1"} <= outcome.metrics.keys()


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [("memory=xbm", "memory.size=24", "miner=random"), ("backbone.batch_norm=false", "trainer.embed_chunk=3")]
)
def test_a_stopped_run_goes_on_as_if_nothing_had_happened(pairs, watch, words):
    watch()
    folder = train(pairs(*words)).folder
    wanted = traces(folder)
    shutil.rmtree(folder)
    watch(At(interrupt(), step=7))
    assert stopped(pairs, *words) == folder
    watch()
    train(pairs(*words))
    assert record(folder)["resumed"] == 1
    same(traces(folder), wanted)


@pytest.mark.processes
def test_two_processes_are_one(pairs, tmp_path):
    """They learn the same weights, and evaluate as one process does."""
    cfg = pairs(*DDP, "trainer.max_epochs=1")

    def work():
        outcome = train(cfg)
        torch.save(outcome.module.embedder.head.state_dict(), tmp_path / f"{os.environ['RANK']}.pt")

    on_ranks(work, ready=started(cfg))
    one, other = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert all(torch.equal(one[name], other[name]) for name in one)

    def evaluate():
        own = pairs("evaluation.batch_size=5", *(DDP if "RANK" in os.environ else ()))
        data = data_of(plain(own))
        module = learner_of(plain(own), data)
        trainer = trainer_of(Run(tmp_path / "none", plain(own), None), data, [], Stop())
        trainer.test(module, datamodule=data, verbose=False)
        figures = {key: float(value) for key, value in trainer.callback_metrics.items()}
        kept = (module.evaluated.embeddings, module.evaluated.side, module.evaluated.positions, figures)
        torch.save(kept, tmp_path / f"evaluated-{trainer.world_size}-{trainer.global_rank}.pt")

    evaluate()
    on_ranks(evaluate)
    alone, *both = (torch.load(tmp_path / f"evaluated-{name}.pt") for name in ("1-0", "2-0", "2-1"))
    for found in both:
        torch.testing.assert_close(found[0], alone[0])
        assert torch.equal(found[1], alone[1])
        assert torch.equal(found[2], alone[2])
        assert found[3] == pytest.approx(alone[3], rel=1e-5)
