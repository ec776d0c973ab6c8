"""What the contract asks of every weighting that ships: batches at the edge of what there is."""

import pytest
import torch
from combinations import every
from oracles import LAYOUTS

from metriscope.config.objective import shipped
from metriscope.losses import InfoNCELoss
from metriscope.objectives.distances.cosine import Cosine
from metriscope.objectives.miners.bands import AllMiner
from metriscope.objectives.miners.hard_share import HardShareMiner
from metriscope.objectives.objective import Objective
from metriscope.objectives.references.memory import CrossBatchMemory
from metriscope.objectives.samples import Moment, Spaces

WEIGHTINGS = shipped("weighting")
BATCHES = [*LAYOUTS.values(), [], [-1, 0, 0, -1, 1, 1, 2], [0] * 4 + [1] * 4]
NEEDED = {"dbpm": {"num_samples": 20, "warmup_share": 0.0}}


def batch(labels, dtype, same):
    source = torch.Generator().manual_seed(len(labels))
    z, features = (torch.randn(len(labels), size, generator=source).to(dtype) for size in (4, 6))
    z = (z[:1].expand_as(z) if same else z).clone().requires_grad_()
    return z, Spaces.of(z, torch.tensor(labels, dtype=torch.int64), torch.arange(len(labels)), trunk=features)


@pytest.mark.parametrize("name", WEIGHTINGS)
@every(labels=BATCHES, dtype=(torch.float32, torch.bfloat16), same=(True, False), memory=(True, False))
def test_batches_at_the_edge(name, labels, dtype, same, memory):
    part = WEIGHTINGS[name](**NEEDED.get(name, {}))
    references = [CrossBatchMemory(7, 4, affinity_size=6 if part.affinity else 0)] if memory else []
    objective = Objective(Cosine(), AllMiner(), InfoNCELoss(0.1), references, part)
    for epoch in (0, 8, 9):
        z, spaces = batch(labels, dtype, same)
        output = objective(spaces, Moment(epoch)).output
        assert output.value.isfinite()
        (gradient,) = torch.autograd.grad(output.value, z)
        assert gradient.isfinite().all()
        assert bool(output.terms) or (output.value == 0 and not gradient.any())
        assert all(part.isfinite() for part in output.parts.values())


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_with_a_miner_and_whatever_the_blocks(name):
    found = []
    for memory_mb in (None, 1e-3):
        part = WEIGHTINGS[name](**NEEDED.get(name, {}))
        objective = Objective(Cosine(), HardShareMiner(0.5), InfoNCELoss(0.5), (), part, memory_mb=memory_mb).double()
        for epoch in (0, 8, 9):
            z, spaces = batch(LAYOUTS["few classes"], torch.float64, False)
            output = objective(spaces, Moment(epoch)).output
        found += [output.value.detach(), torch.autograd.grad(output.value, z)[0]]
    for one, other in zip(found[:2], found[2:], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-13)
