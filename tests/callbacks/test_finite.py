"""The callback that stops a run at values that are not finite, by itself; tests/test_interruption.py has it in runs."""

import warnings
from types import SimpleNamespace

import pytest
import torch

from metriscope.build.run import data_of, learner_of
from metriscope.callbacks.finite import BatchGuard
from metriscope.config.plain import plain
from metriscope.errors import RunError

NAN, INF = float("nan"), float("inf")


@pytest.fixture
def module(tiny):
    cfg = tiny()
    return learner_of(plain(cfg), data_of(plain(cfg)))


def step(module, loss=1.0, entry=0.5, terms=3):
    """Leaves the module as it is between the forward and the backward pass."""
    module.embedding = SimpleNamespace(
        z=torch.full((2, 3), 0.5).index_put((torch.tensor(0), torch.tensor(0)), torch.tensor(entry))
    )
    module.step = SimpleNamespace(output=SimpleNamespace(terms=torch.tensor(terms)))
    return torch.tensor(loss)


def trainer(global_step, epoch=4):
    return SimpleNamespace(global_step=global_step, current_epoch=epoch)


def feed(guard, module, *steps):
    for number, options in enumerate(steps):
        guard.on_before_backward(trainer(number), module, step(module, **options))


@pytest.mark.parametrize(
    ("bad", "what"),
    [
        ({"loss": NAN}, "loss"),
        ({"loss": INF}, "loss"),
        ({"loss": NAN, "entry": NAN}, "embeddings"),
        ({"entry": NAN}, "embeddings"),
        ({"entry": -INF}, "embeddings"),
    ],
)
def test_the_step_is_named_at_once_on_a_cpu(module, bad, what):
    guard = BatchGuard(10)
    with pytest.raises(RunError, match=rf"^{what} not finite at step 2 \(epoch 4\): .*optimizer\.lr"):
        feed(guard, module, {}, {}, bad, {})


def test_a_good_step_is_no_matter(module):
    guard = BatchGuard(1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        feed(guard, module, {}, {"loss": 0.0}, {"loss": 1e30})
        guard.on_validation_start(trainer(3), module)
        guard.on_train_epoch_end(trainer(3), module)


def test_a_batch_without_terms_warns_once(module):
    guard = BatchGuard(1)
    with pytest.warns(UserWarning, match="the batch of step 1 has no valid term") as caught:
        feed(guard, module, {}, {"terms": 0}, {"terms": 0}, {}, {"terms": 0})
    assert len(caught) == 1


@pytest.mark.parametrize("hook", ["on_validation_start", "on_train_epoch_end"])
def test_nothing_is_saved_after_a_bad_step_that_was_not_yet_looked_at(module, hook):
    """As on a GPU, where flags are read only now and then: the first bad step is named all the same."""
    guard = BatchGuard(100)
    good, bad = (torch.tensor(flags) for flags in ([True, True, True], [False, True, True]))
    guard.flags = [(7, good), (8, bad), (9, bad)]
    with pytest.raises(RunError, match="loss not finite at step 8 "):
        getattr(guard, hook)(trainer(10), module)
