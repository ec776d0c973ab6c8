"""Numbers of single samples, by index."""

import pytest
import torch

from metriscope.objectives import state as module
from metriscope.objectives.state import SampleState


@pytest.mark.parametrize("chunk", [1, 1024])
def test_repeats_are_averaged_and_others_stay(monkeypatch, chunk):
    monkeypatch.setattr(module, "_CHUNK", chunk)
    state = SampleState(5, weight=1.0, seen=0.0)
    state.write("weight", torch.tensor([3, 0, 3, -1, 3]), torch.tensor([1.0, 7.0, 2.0, 100.0, 6.0]))
    assert state.weight.tolist() == [7, 1, 1, 3, 1]
    assert state.seen.tolist() == [0] * 5
    assert state.read("weight", torch.tensor([-1, 3, 4])).tolist() == [1, 3, 1]


def test_nothing_is_written_for_nobody():
    state = SampleState(2, weight=2.5)
    nobody = torch.zeros(0, dtype=torch.int64)
    state.write("weight", nobody, torch.zeros(0))
    state.write("weight", torch.tensor([-1, -1]), torch.tensor([1.0, 2.0]))
    assert state.weight.tolist() == [2.5, 2.5]
    assert state.read("weight", nobody).shape == (0,)


def test_state_is_in_the_checkpoint_and_takes_no_gradient():
    state = SampleState(3, weight=1.0)
    state.write("weight", torch.tensor([1]), torch.tensor([4.0], requires_grad=True))
    assert not state.weight.requires_grad
    other = SampleState(3, weight=0.0)
    other.load_state_dict(state.state_dict())
    assert torch.equal(other.weight, state.weight)
