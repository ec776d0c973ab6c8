"""``scripts/kill_test.py`` holds, and would notice if it did not."""

import shutil
import subprocess
import sys
from pathlib import Path

import kill_test
import pytest

from metriscope.app import train
from metriscope.config.compose import compose_config

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.mark.slow
def test_a_sweep_that_is_killed_again_and_again():
    command = [sys.executable, str(SCRIPTS / "kill_test.py"), "--kills", "5", "--epochs", "2", "--seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 kills" in done.stdout
    assert "identical to the bit" in done.stdout


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    """One finished run, twice."""
    folder = tmp_path_factory.mktemp("studies")
    words = [word for word in kill_test.TINY if not word.startswith(("loss=", "seed="))]
    cfg = compose_config([*words, "trainer.max_epochs=1", f"paths.output_dir={folder}", "study=one"])
    train(cfg)
    shutil.copytree(folder / "one", folder / "other")
    return folder / "one", folder / "other"


@pytest.mark.parametrize(
    ("name", "content", "wrong"),
    [
        ("metrics.csv", "epoch,step,train/loss\n0,1,0.5\n", "metrics.csv"),
        ("summary.json", '{"test/map_at_r": 2}', "summary.json: test/map_at_r"),
        ("run.json", '{"status": "failed"}', "failed"),
        (".metriscope-0123456789abcdef-run.json", "{", "left behind"),
    ],
)
def test_differences_are_noticed(studies, tmp_path, name, content, wrong):
    one, other = studies
    changed = shutil.copytree(other, tmp_path / "changed")
    (run,) = (path.parent for path in changed.glob("*/*/*/run.json"))
    undisturbed = kill_test.compare(one, shutil.copytree(other, tmp_path / "same"))
    (run / name).write_text(content)
    found = set(kill_test.compare(one, changed)) - set(undisturbed)
    assert any(wrong in line for line in found), found
    assert not any("changed" not in line for line in found)


@pytest.mark.parametrize("name", ["run.json", "config.yaml", "checkpoints/last.ckpt", "metrics.csv"])
def test_torn_files_are_noticed(studies, tmp_path, name):
    changed = shutil.copytree(studies[1], tmp_path / "changed")
    assert kill_test.torn(changed) == []
    (run,) = (path.parent for path in changed.glob("*/*/*/run.json"))
    whole = (run / name).read_bytes()
    (run / name).write_bytes(b"a: [b\n" if name == "config.yaml" else whole[: len(whole) // 2] + b"\nx,y\n")
    assert [name in line for line in kill_test.torn(changed)] == [True]
