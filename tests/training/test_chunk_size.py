"""How many examples a network can embed at once."""

import torch
from torch import nn

from metriscope.data.inputs.late import LateInputs
from metriscope.models.heads import LinearHead
from metriscope.models.network import Network
from metriscope.models.trunk import Body, Trunk
from metriscope.training import chunk_size
from metriscope.training.chunk_size import fitting, kept_bytes
from metriscope.training.chunks import Chunks


def network():
    layers = nn.Linear(16, 32), nn.ReLU(), nn.Dropout(0.5)
    return Network(Trunk(Body(nn.Sequential(*layers), 32)), LinearHead(32, 4), 4)


def test_what_a_graph_keeps_grows_with_the_examples_and_leaves_out_weights():
    net = network()
    one, two = (kept_bytes(net, torch.randn(count, 16)) for count in (8, 16))
    assert two == 2 * one
    assert 8 * 4 * (16 + 32) <= one <= 8 * 4 * (16 + 6 * 32 + 16)


def test_the_largest_power_of_two_that_fits(monkeypatch):
    net, inputs = network(), LateInputs(torch.randn(100, 16), lambda stored: stored)
    each = kept_bytes(net, torch.randn(2, 16)) / 2
    state = torch.get_rng_state()
    for examples, wanted in ((0.3, 1), (1, 1), (9, 8), (40, 32)):
        monkeypatch.setattr(chunk_size, "_OTHERWISE", examples * each)
        assert fitting(net, inputs) == wanted
    assert torch.equal(torch.get_rng_state(), state), "a run that resumes looks once more"


def test_auto_is_found_with_the_first_batch(monkeypatch):
    net, chunks = network(), Chunks("auto")
    monkeypatch.setattr(chunk_size, "_OTHERWISE", 5 * kept_bytes(net, torch.randn(2, 16)) / 2)
    assert chunks(net, torch.randn(10, 16)).z.shape == (10, 4)
    assert chunks.size == 4
