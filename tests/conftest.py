"""Fixtures of many tests."""

import gc
from functools import cache
from pathlib import Path

import pytest
from hydra._internal import defaults_list
from hydra._internal.config_repository import ConfigRepository
from quick_hydra import on_demand, read_once
from tiny_runs import COMPOSER, TINY

from metriscope.app import train
from metriscope.outcome import Outcome
from metriscope.run.versions import git_state, versions
from metriscope.sweeps.jobs import Refusal
from metriscope.sweeps.launch import Launcher

# Its assertions say where two runs part.
pytest.register_assert_rewrite("interruptions")


def pytest_collection_finish():
    """All that is imported by now stays: the garbage collector would look through it again and again.

    Composing a config makes so many objects that a quarter of its time goes to the collector's default threshold.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000)


@pytest.fixture(autouse=True, scope="session")
def no_waiting():
    """What a run does for its own safety or its record, and every test would wait for.

    No test cuts the power, so none waits for the disk; commit and versions are asked for once.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda file: None)
        patch.setattr("metriscope.run.folder.git_state", cache(git_state))
        patch.setattr("metriscope.run.folder.versions", cache(versions))
        yield


@pytest.fixture(autouse=True, scope="session")
def quick_hydra():
    """Hydra composes in half the time: it reads no shipped file twice, and looks up nothing that it does not need."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ConfigRepository, "load_config", read_once(ConfigRepository.load_config))
        patch.setattr(defaults_list, "_create_interpolation_map", on_demand(defaults_list._create_interpolation_map))
        yield


@pytest.fixture(autouse=True)
def own_handlers(monkeypatch):
    """The commands leave the signals of the process that runs the tests alone."""
    monkeypatch.setattr("metriscope.cli.exit_on_requests", lambda: None)


@pytest.fixture
def quick_trainer(monkeypatch):
    """Lightning moves no value from CPU to CPU and looks for no installed callbacks: a sixth of a tiny run."""
    connectors = "pytorch_lightning.trainer.connectors"
    monkeypatch.setattr(f"{connectors}.logger_connector.result._ResultMetric.to", lambda self, *args, **kwargs: self)
    monkeypatch.setattr(f"{connectors}.callback_connector._load_external_callbacks", lambda group: [])


@pytest.fixture
def tiny(tmp_path, quick_trainer):
    """Composes a config of a tiny run whose output goes below ``tmp_path``; overrides come on top.

    One thread: for matrices as small as these, a second one only waits for the first.
    """

    import torch  # not above: the process that only hands out the tests does without

    def compose(*overrides: str):
        cfg = COMPOSER([*TINY, *overrides])
        cfg.paths.output_dir = str(tmp_path / "outputs")
        return cfg

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield compose
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def served(tmp_path_factory):
    """The folder of a finished run on images, and the folder of these; both only to be read."""
    from served import train_tiny

    root = tmp_path_factory.mktemp("served")
    return train_tiny(root), root / "photos"


@pytest.fixture
def run(tiny):
    """Trains a tiny run in this process."""

    def go(*overrides: str) -> Outcome:
        return train(tiny(*overrides))

    return go


@pytest.fixture
def one_composer(monkeypatch):
    """All sweeps of all tests read the parts of a config once."""
    for module in ("plan", "search"):
        monkeypatch.setattr(f"metriscope.sweeps.{module}.Composer", lambda words=(): COMPOSER)


@pytest.fixture
def short_launch(monkeypatch, one_composer):
    """Jobs go straight to the task that Hydra's launcher was given, one after the other."""

    def launch(self, jobs):
        task = self._launcher.task_function
        results = {job.folder: task(COMPOSER(job.words)) for job in jobs}
        return {folder: result for folder, result in results.items() if isinstance(result, Refusal)}

    monkeypatch.setattr(Launcher, "_launch", launch)


@pytest.fixture
def watch(monkeypatch):
    """Lets a callback into the next runs without a trace in their config."""

    def put(*callbacks):
        monkeypatch.setattr("metriscope.build.callbacks.progress", lambda: list(callbacks))

    return put


@pytest.fixture
def no_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """W&B finds no key on this machine."""
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HOME", str(tmp_path))
