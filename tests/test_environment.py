"""Variables for libraries: those of the user stay."""

import os

import pytest

from metriscope import environment

NAMES = ("THP_MEM_ALLOC_ENABLE", "GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    for name in NAMES:
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)


def found():
    return {name: os.environ[name] for name in NAMES if name in os.environ}


def test_idle_threads_soon_sleep():
    environment.prepare()
    assert found() == {"THP_MEM_ALLOC_ENABLE": "1", "GOMP_SPINCOUNT": "20000"}


def test_runs_side_by_side_do_not_wait_at_all():
    environment.prepare()
    environment.share_cores()
    assert found() == {"THP_MEM_ALLOC_ENABLE": "1", "OMP_WAIT_POLICY": "passive"}


@pytest.mark.parametrize("own", [{"GOMP_SPINCOUNT": "7"}, {"OMP_WAIT_POLICY": "active"}, {"THP_MEM_ALLOC_ENABLE": "0"}])
def test_what_the_user_has_set_stays(monkeypatch, own):
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    environment.prepare()
    environment.share_cores()
    assert found().items() >= own.items()
    if "OMP_WAIT_POLICY" in own:
        assert "GOMP_SPINCOUNT" not in found()
