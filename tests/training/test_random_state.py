"""The random state that layers draw from."""

import torch

from metriscope.training.random_state import kept_random_state, random_state, seed_random_state, set_random_state

CPU = torch.device("cpu")


def test_what_is_drawn_within_leaves_no_trace():
    before = torch.get_rng_state()
    with kept_random_state(CPU):
        torch.rand(3)
        torch.manual_seed(8)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_same_state_draws_the_same():
    state = random_state(CPU)
    drawn = torch.rand(3)
    torch.rand(3)
    set_random_state(CPU, state)
    assert torch.equal(torch.rand(3), drawn)


def test_a_device_has_a_generator_of_its_own(monkeypatch):
    states = [torch.tensor([1])]
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda: states[-1])
    monkeypatch.setattr(torch.cuda, "set_rng_state", states.append)
    state = random_state(torch.device("cuda", 0))
    states.append(torch.tensor([2]))
    set_random_state(torch.device("cuda", 0), state)
    assert [int(one) for one in states] == [1, 2, 1]
    assert len(random_state(torch.device("meta"))) == 1


def test_a_seed_is_that_of_torch_and_queues_nothing():
    torch.manual_seed(2**62 + 5)
    state, queued = torch.get_rng_state(), len(torch.cuda._queued_calls)
    torch.rand(3)
    seed_random_state(CPU, 2**62 + 5)
    assert torch.equal(torch.get_rng_state(), state)
    assert len(torch.cuda._queued_calls) == queued


def test_a_seed_reaches_the_generator_of_a_device(monkeypatch):
    seen = []
    monkeypatch.setattr(torch.cuda, "manual_seed", seen.append)
    seed_random_state(torch.device("cuda", 0), 7)
    assert seen == [7]
