"""A loss kept outside of the repository is swept and compared like a shipped one."""

import os
import subprocess
import sys

import pytest
from tiny_runs import TINY

LOSS = '''
from metriscope.losses import Loss, LossOutput


class PullTogether(Loss):
    """Mean distance of positives."""

    accepts = frozenset({"all"})
    hinge = False

    def forward(self, comparison, selection):
        terms = comparison.positive.sum()
        value = (comparison.distances * comparison.positive).sum() / terms.clamp_min(1)
        return LossOutput(value, active=terms, terms=terms, parts={})
'''


@pytest.fixture
def metriscope(tmp_path):
    """Calls a subcommand in a folder that holds a loss of one's own, in a process of its own."""
    (tmp_path / "my_losses.py").write_text(LOSS)
    (tmp_path / "my_configs" / "loss").mkdir(parents=True)
    config = "# Pulls only.\n_target_: my_losses.PullTogether\nname: pull_together\n"
    (tmp_path / "my_configs" / "loss" / "pull_together.yaml").write_text(config)

    def call(*words):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
        command = [sys.executable, "-m", "metriscope", *words]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200)

    return call


SHORT = (*TINY, "trainer.max_epochs=1", "loss=pull_together,triplet")


@pytest.mark.processes
def test_a_parallel_sweep_of_an_own_loss_finishes_and_compares(metriscope):
    """``tests/test_extending.py`` does the same with Hydra's own launcher and ``--config-dir``."""
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    launcher = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    done = metriscope("train", "hydra.searchpath=[my_configs]", "-m", *SHORT, "seed=0,1", *launcher)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 runs: 4 finished" in done.stdout
    compared = metriscope("compare", "outputs/default", "--metrics", "test/recall_at_1", "--format", "csv")
    assert compared.returncode == 0, compared.stderr
    assert "4 finished runs in 2 groups" in compared.stdout
    assert "pull_together" in compared.stdout
