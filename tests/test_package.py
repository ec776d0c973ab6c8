"""The public face, and the wheel that is installed without the repository."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import metriscope
from metriscope import distances, losses, metrics, miners, mixtures, weightings

ROOT = Path(__file__).parents[1]
MODULES = [distances, losses, metrics, miners, mixtures, weightings]


def test_every_public_name_is_there():
    for name in metriscope.__all__:
        assert getattr(metriscope, name) is not None
    assert dir(metriscope) == metriscope.__all__
    assert len(metriscope.__all__) <= 15
    with pytest.raises(AttributeError, match="no attribute 'fit'; it has Embedder, "):
        _ = metriscope.fit


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_parts_are_there_by_name(module):
    for name in dir(module):
        assert getattr(module, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'; it has "):
        _ = module.Nothing


def test_the_face_imports_nothing_heavy():
    heavy = ("torch", "hydra", "omegaconf", "numpy", "wandb")
    code = f"import sys, metriscope; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder into which a wheel of this tree is installed, beside the packages of this environment."""
    folder = tmp_path_factory.mktemp("wheel")
    quiet = {"cwd": ROOT, "check": True, "capture_output": True}
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], **quiet)
    (wheel,) = folder.glob("*.whl")
    target = folder / "site"
    options = ["--no-deps", "--no-index", "--quiet", "--target", str(target)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(wheel)], **quiet)
    return target


@pytest.mark.processes
def test_the_wheel_trains_in_an_empty_folder(installed, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    words = ["dataset=digits", "logger=files", "trainer.max_epochs=1", "trainer.limit_train_batches=3"]
    command = [sys.executable, str(installed / "bin" / "metriscope"), "train", *words]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert "Recall@1" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["outputs"]
    script = "import metriscope, metriscope.config.files as f; print(metriscope.__file__, f.CONFIG_DIR)"
    shown = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert shown.stdout.split() == [
        str(installed / "metriscope" / "__init__.py"),
        str(installed / "metriscope" / "configs"),
    ]


@pytest.mark.network
def test_the_wheel_brings_its_dependencies(tmp_path):
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", str(ROOT)], check=True)
    command = [str(python.with_name("metriscope")), "train", "dataset=digits", "logger=files", "trainer.max_epochs=1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "Recall@1" in done.stdout
