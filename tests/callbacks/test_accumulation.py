"""What accumulated gradients do not do."""

import warnings
from types import SimpleNamespace

import pytest
import torch

from metriscope.build.run import data_of, learner_of
from metriscope.callbacks.accumulation import AccumulationWarning
from metriscope.config.plain import plain
from metriscope.objectives.samples import Spaces


def seen(tiny, callback, *words, batches=4):
    config = plain(tiny(*words))
    module = learner_of(config, data_of(config))
    z = torch.randn(6, module.embedder.size, requires_grad=True)
    module.step = module.objective(Spaces.of(z, torch.tensor([0, 0, 1, 1, 2, 2]), trunk=z))
    trainer = SimpleNamespace(accumulate_grad_batches=batches, is_global_zero=True)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        callback.on_before_backward(trainer, module, module.step.output.value)
        callback.on_before_backward(trainer, module, module.step.output.value)
    return [str(one.message) for one in found if "accumulate_grad_batches" in str(one.message)]


@pytest.mark.parametrize("loss", ["triplet", "supcon", "contrastive"])
def test_a_loss_that_compares_samples_warns_once(tiny, loss):
    (line,) = seen(tiny, AccumulationWarning(), f"loss={loss}")
    assert "accumulate_grad_batches=4" in line
    assert "no more negatives" in line
    assert "trainer.embed_chunk" in line


def test_others_say_nothing(tiny):
    assert seen(tiny, AccumulationWarning(), "loss=cosface") == []
    assert seen(tiny, AccumulationWarning(), batches=1) == []
