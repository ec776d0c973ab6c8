"""Every figure of the golden runs in float64 is what it was when the golden files were made.

``python scripts/loss_compare.py . --spread`` shows how far kinds of CPU differ from each other on these runs: by up
to 1e-5 of a figure in float64, where a float32 run of semi-hard triplets spreads by per cents.
"""

from pathlib import Path

import loss_compare
import pytest
import torch

from metriscope.app import train
from metriscope.config.compose import compose_config

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"

SPREAD = 1e-5
# Other CPUs, compilers and libraries than the ones measured.
TOLERANCE = 10 * SPREAD
RUNS = loss_compare.golden_runs(precisions=["float64"])


@pytest.mark.usefixtures("quick_trainer")
@pytest.mark.parametrize("name", RUNS)
def test_curves_are_golden(name, tmp_path):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        outcome = train(compose_config([*RUNS[name], f"paths.output_dir={tmp_path}"]))
    finally:
        torch.set_num_threads(threads)
    golden = loss_compare.read(loss_compare.GOLDEN / f"{name}.csv")
    assert len([cell for cell in golden["train/loss_step"] if cell]) == 50
    different = loss_compare.differences(golden, loss_compare.read(outcome.folder / "metrics.csv"))
    assert {column: worst for column, worst in different.items() if worst > TOLERANCE} == {}
