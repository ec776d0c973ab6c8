"""A private SLURM for the time of these tests, and sweeps that are sent to it as a user would send them."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_runs import TINY

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "scripts" / "slurm"
# Far more than anything takes: a machine may be busy, and waiting ends as soon as there is something to see.
PATIENCE = 240
HOLD = ("+callbacks.hold._target_=hold.Hold", "+callbacks.hold.step=7")


def until(condition, what, seconds=PATIENCE):
    """What ``condition()`` returns once that is something."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.1)
    return found


class Slurm:
    """The cluster: where it is, and its commands."""

    def __init__(self, place):
        self.place = place
        # One thread a process: sums over more have other last bits.
        own = {"SLURM_PLAYGROUND": str(place), "SLURM_CONF": str(place / "slurm.conf"), "OMP_NUM_THREADS": "1"}
        own["PATH"] = f"{SCRIPTS / 'bin'}:{os.environ['PATH']}"
        own["PYTHONPATH"] = f"{ROOT / 'src'}:{Path(__file__).parent}"
        self.env = {**os.environ, **own}

    def __call__(self, *words, cwd=None):
        done = subprocess.run(words, env=self.env, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout

    def sbatch(self, *words, cwd):
        return self("sbatch", "--parsable", *words, cwd=cwd).strip()

    def shown(self, job):
        """What the controller knows of a job, by name."""
        return dict(re.findall(r"(\w+)=(\S+)", self("scontrol", "show", "job", "--oneliner", job)))


class Runs:
    """The one run, or the few, below an output folder of their own."""

    def __init__(self, folder):
        self.folder = folder

    def records(self):
        return {path.parent: json.loads(path.read_text()) for path in self.folder.glob("outputs/*/*/*/*/run.json")}

    def record(self):
        (record,) = self.records().values()
        return record

    def run(self):
        (folder,) = self.records()
        return folder

    def held(self, processes=1):
        """Waits until the run is where it waits for a signal."""
        pattern = "outputs/*/*/*/*/holding-*"
        try:
            until(lambda: len(list(self.folder.glob(pattern))) == processes or self.over(), "a run that waits")
        finally:
            assert not self.over(), self.logs()

    def over(self):
        """Whether there is nobody left to wait for."""
        return False

    def logs(self):
        paths = [*self.folder.glob("*.txt"), *self.folder.glob("outputs/*/.multirun/slurm/*/*log*")]
        return "\n".join(f"== {path}\n{path.read_text(errors='replace')}" for path in sorted(paths))


class Sweep(Runs):
    """``python train.py -m hydra/launcher=slurm ...`` at work."""

    def __init__(self, slurm, folder, words):
        super().__init__(folder)
        self.out, self.err = folder / "stdout.txt", folder / "stderr.txt"
        small = ("hydra.launcher.cpus_per_task=1", "hydra.launcher.mem_gb=1", "hydra.launcher.timeout_min=30")
        given = {word.split("=")[0] for word in words}
        small = [word for word in small if word.split("=")[0] not in given]
        command = [sys.executable, str(ROOT / "train.py"), "-m", "hydra/launcher=slurm", *TINY, *small, *words]
        with self.out.open("w") as out, self.err.open("w") as err:
            self.process = subprocess.Popen(command, cwd=folder, env=slurm.env, stdout=out, stderr=err)

    def job(self):
        """The number of its array in SLURM."""
        return until(lambda: re.findall(r"^SLURM job (\d+)", self.out.read_text(), re.MULTILINE), "submission")[0]

    def exit_code(self):
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            pytest.fail(f"the sweep does not end\n{self.logs()}")

    def over(self):
        return self.process.poll() is not None

    def table(self):
        """Run folder -> status, as the sweep printed them."""
        return dict(re.findall(r"^(\S+/seed\S+)\s+(\w+)", self.out.read_text(), re.MULTILINE))
