"""Whole runs whose batches are embedded in chunks."""

import os
from itertools import pairwise

import pytest
import torch
from forks import DDP, on_ranks, started
from image_runs import EXACT, followed, images, learn_alike  # noqa: F401
from interruptions import goes_on_alike

from metriscope.app import train
from metriscope.errors import InputError


@pytest.mark.parametrize(
    "words",
    [
        ("loss=triplet", "memory.size=30", "trainer.gradient_clip_val=0.01"),
        ("loss=proxy_anchor", "trainer.accumulate_grad_batches=2", "diagnostics.greediness.negative_spread=true"),
    ],
    ids=" ".join,
)
def test_a_run_on_images_learns_and_logs_the_same(images, words):  # noqa: F811
    words = (*EXACT, *words, "trainer.max_epochs=1")
    learn_alike(followed(images, *words, "trainer.embed_chunk=8"), followed(images, *words))


def test_a_chunk_as_large_as_the_batch_is_the_plain_step_to_the_bit(tiny):
    words = ("trainer.max_epochs=1", "augmentation=none", "backbone.freeze_batch_norm=true")
    wanted, found = followed(tiny, *words), followed(tiny, *words, "trainer.embed_chunk=20")
    assert wanted[1] == found[1]
    assert all(torch.equal(value, found[0][name]) for name, value in wanted[0].items())


def test_a_stopped_run_of_chunks_goes_on_as_if_nothing_had_happened(images, watch):  # noqa: F811
    words = ("backbone.freeze_batch_norm=true", "trainer.embed_chunk=7", "miner=random", "memory.size=30")
    goes_on_alike(images, watch, *words)


@pytest.mark.processes
def test_two_processes_learn_in_chunks_what_they_learn_without(images, tmp_path):  # noqa: F811
    words = (*EXACT, *DDP, "loss=proxy_anchor", "trainer.max_epochs=1", "sampler.samples_per_class=6")
    for chunk in ("null", "5"):
        cfg = images(*words, f"trainer.embed_chunk={chunk}")

        def work(cfg=cfg, chunk=chunk):
            outcome = train(cfg)
            torch.save(outcome.module.state_dict(), tmp_path / f"{chunk}-{os.environ['RANK']}.pt")

        on_ranks(work, ready=started(cfg))
    found = [torch.load(path, weights_only=True) for path in sorted(tmp_path.glob("*.pt"))]
    assert len(found) == 4
    for one, other in pairwise(found):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_batch_norm_in_training_mode_ends_a_run_before_it_begins(tiny):
    with pytest.raises(InputError, match=r"trainer\.embed_chunk=auto: .* set backbone\.freeze_batch_norm=true$"):
        train(tiny("trainer.embed_chunk=auto"))


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_compiled_chunks_learn_what_chunks_learn(tiny):
    words = (*EXACT, "trainer.max_epochs=1", "trainer.embed_chunk=8")
    learn_alike(followed(tiny, *words, "compile=true"), followed(tiny, *words))
