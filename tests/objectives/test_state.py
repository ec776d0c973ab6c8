"""Numbers of single samples, by index."""

import pytest
import torch

from metriscope.errors import InputError
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


def test_state_stays_precise_in_half_precision():
    state = SampleState(2, weight=1 / 3)
    assert state.bfloat16().weight.tolist() == SampleState(2, weight=1 / 3).weight.tolist()
    assert state.double().weight.dtype == torch.float64
    assert state.half().weight.dtype == torch.float64


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (
            lambda s: s.read("cost", torch.tensor([3])),
            "^sample 3: there is state of 3, from 0; give num_samples in full$",
        ),
        (lambda s: s.write("cost", torch.tensor([0, 4]), torch.ones(2)), "^sample 4: there is state of 3"),
        (lambda s: s.write("cost", torch.tensor([0, 1]), torch.ones(2, 1)), r"^values \(2, 1\) for an index \(2,\)"),
        (lambda s: s.read("cots", torch.tensor([0])), "^there is no state cots; did you mean 'cost'[?]$"),
    ],
)
def test_what_there_is_no_state_of(call, line):
    with pytest.raises(InputError, match=line):
        call(SampleState(3, cost=1.0))


def test_repeats_are_added_and_others_stay(monkeypatch):
    monkeypatch.setattr(module, "_CHUNK", 2)
    state = SampleState(4, total=1.0)
    state.add("total", torch.tensor([3, 0, 3, -1, 3]), torch.tensor([1.0, 7.0, 2.0, 100.0, 6.0]))
    assert state.total.tolist() == [8, 1, 1, 10]
    assert SampleState(2, total=1.0).to(torch.bfloat16).total.dtype == torch.float32
    assert SampleState(2, total=1.0).double().total.dtype == torch.float64
