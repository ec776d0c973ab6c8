"""Losses as a compiler sees them: one graph, so nothing in a step waits for the host."""

import shutil

import pytest
import torch
import torch.nn.functional as F
from tiny_runs import COMPOSER

from metriscope.app import train
from metriscope.build.run import objective_of
from metriscope.config.objective import shipped
from metriscope.config.plain import plain
from metriscope.objectives.samples import Spaces

LOSSES = shipped("loss")

CLASSES, SIZE = 4, 8
# Of the miners of one class, one.
BANDS = [("triplet", miner) for miner in ("semihard", "curriculum")]
LISTS = [("triplet", miner) for miner in ("batch_hard", "batch_easy_positive")]
PAIRS = [("contrastive", miner) for miner in ("pair_margin", "multi_similarity")]


@pytest.fixture(scope="module")
def batch():
    generator = torch.Generator().manual_seed(0)
    z = F.normalize(torch.randn(24, SIZE, generator=generator), dim=1)
    labels = torch.arange(24) % CLASSES
    labels[-1] = -1  # of no class
    return z, labels


@pytest.mark.parametrize(("loss", "miner"), [*((loss, None) for loss in LOSSES), *BANDS, *LISTS, *PAIRS])
def test_forward_is_one_graph(loss, miner, batch):
    cfg = COMPOSER([f"loss={loss}", *([f"miner={miner}"] if miner else [])])
    z, labels = batch
    results = []
    for compiled in (False, True):
        torch._dynamo.reset()
        objective = objective_of(plain(cfg), CLASSES, SIZE)

        def value(z, labels, objective=objective):
            output = objective(Spaces.of(z, labels, trunk=z)).output
            return output.value, output.active, output.terms, output.similarities

        judge = torch.compile(value, fullgraph=True, backend="eager") if compiled else value
        leaf = z.clone().requires_grad_()
        torch.manual_seed(0)  # without a moment, what is drawn comes from the global generator
        found = judge(leaf, labels)
        found[0].backward()
        results.append([leaf.grad, *(one for one in found if one is not None)])
    torch.testing.assert_close(results[1], results[0])


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a compiler")
@pytest.mark.parametrize("words", [("loss=triplet", "miner=semihard"), ("loss=contrastive",)], ids=" ".join)
def test_compiled_training_is_training(words, tiny):
    losses = []
    for compiled in (False, True):
        torch._dynamo.reset()
        cfg = tiny(*words, f"compile={compiled}", "+trainer.limit_train_batches=4", f"study=compiled-{compiled}")
        metrics = train(cfg).metrics
        losses.append([metrics[key] for key in ("train/loss", "train/grad_norm", "train/active_ratio", "val/loss")])
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
