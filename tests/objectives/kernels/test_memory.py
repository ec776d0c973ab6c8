"""The memory that a loss takes beyond its embeddings grows with the batch, not with its square."""

import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks import measuring

MIB = 2**20
SIZES = (2048, 4096)
# Each step is in a fork of a process that has never computed: memory that was freed but kept would hide a peak.
CODE = f"""
import os
import torch
from benchmarks.measuring import peak_extra
from metriscope.losses import InfoNCELoss, TripletLoss

def step(loss, size):
    z = torch.nn.functional.normalize(torch.randn(size, 64), dim=1).requires_grad_()
    loss(z, torch.arange(size) % 10).backward()

torch.set_num_threads(1)
for loss in (TripletLoss(), InfoNCELoss()):
    for size in {SIZES}:
        if not (child := os.fork()):
            print(peak_extra(lambda: step(loss, size), lambda: step(loss, 64)), flush=True)
            os._exit(0)
        os.waitpid(child, 0)
"""


@pytest.mark.processes
def test_no_matrix_is_kept() -> None:
    scripts = Path(measuring.__file__).parents[1]
    shown = subprocess.run([sys.executable, "-c", CODE], cwd=scripts, capture_output=True, text=True, check=True)
    peaks = [int(line) / MIB for line in shown.stdout.split()]
    matrix = SIZES[1] ** 2 * 4 / MIB
    for loss, small, large in (("triplet", *peaks[:2]), ("infonce", *peaks[2:])):
        # A kept matrix would make it four times as much; what the allocator rounds up is a few MiB.
        assert large < 2.6 * small + 8, (loss, peaks)
        assert large < matrix, (loss, peaks)
