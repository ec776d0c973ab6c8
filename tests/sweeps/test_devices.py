"""Which devices a job sees; no GPU is needed to know."""

import os
import subprocess
import sys

import pytest
from tiny_runs import TINY

from metriscope.config.compose import compose_config
from metriscope.sweeps.devices import share, take_share


def test_jobs_take_turns():
    assert [share(number, 1, ["0", "1", "2"]) for number in range(4)] == [["0"], ["1"], ["2"], ["0"]]
    assert [share(number, 2, ["a", "b", "c", "d", "e"]) for number in range(3)] == [["a", "b"], ["c", "d"], ["a", "b"]]


def test_jobs_that_want_all_or_find_none():
    assert share(3, 4, ["0", "1"]) == ["0", "1"]
    assert share(3, 1, []) == []


@pytest.fixture
def visible(monkeypatch):
    def go(number, *words, given="4,5,6", count=3):
        monkeypatch.setattr("torch.cuda.device_count", lambda: count)
        if given is None:
            monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        else:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
        take_share(number, compose_config([*TINY, "trainer=auto", *words]))
        return os.environ.get("CUDA_VISIBLE_DEVICES")

    return go


def test_a_process_hides_the_devices_of_others(visible):
    assert visible(1) == "5"
    assert visible(4) == "5"
    assert visible(1, "trainer.devices=2") == "4,5"
    assert visible(1, given=None) == "1"


def test_a_process_keeps_what_its_first_job_took(visible):
    assert visible(2, given="5") == "5"


@pytest.mark.parametrize("words", [["trainer=cpu"], ["trainer.devices=auto"], ["trainer.devices=-1"]])
def test_devices_that_are_not_shared_out(visible, words):
    assert visible(1, *words) == "4,5,6"


def test_a_machine_without_gpus(visible):
    assert visible(1, given=None, count=0) is None


@pytest.mark.processes
def test_cuda_is_not_started_for_it():
    script = (
        "import torch; from metriscope.config.compose import compose_config; "
        "from metriscope.sweeps.devices import take_share; "
        "take_share(1, compose_config(['trainer=auto'])); assert not torch.cuda.is_initialized()"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)
