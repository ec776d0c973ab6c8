"""How long a comparison of many runs takes, and how much memory: made-up runs in the true formats."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from omegaconf import OmegaConf

from benchmarks.measuring import MIB
from benchmarks.study_writer import changed, write_run
from metriscope.config.compose import compose_config

LOSSES = ("contrastive", "triplet", "n_pair", "infonce", "arcface", "supcon", "center_contrastive", "multi_similarity")
DATASETS = ("synthetic", "digits", "mnist", "fashion_mnist", "cifar10")
_MODES = {"tables": [], "and learning curves": ["--figures", "learning_curves"], "and all figures": ["--figures"]}
_SCRIPT = Path(__file__).resolve().parents[1] / "compare.py"
# The peak of a child is asked of the system by the child itself, when all is done.
_MEASURED = """
import resource, runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    used = resource.getrusage(resource.RUSAGE_SELF)
    print("used", used.ru_utime + used.ru_stime, used.ru_maxrss, file=sys.stderr)
"""


def run(quick: bool, data_dir: Path | None) -> None:
    """Print seconds and peak memory of metriscope compare, without and with figures."""
    seeds, epochs = (1, 5) if quick else (25, 100)
    with tempfile.TemporaryDirectory() as root:
        started = time.perf_counter()
        folder = write_study(Path(root), seeds, epochs)
        size = sum(path.stat().st_size for path in folder.rglob("*.*") if path.is_file())
        count = len(LOSSES) * len(DATASETS) * seeds
        print(f"{count} runs of {epochs} epochs, {size / MIB:.0f} MiB, made in {time.perf_counter() - started:.0f} s")
        baseline = ["--baseline", "loss.name=contrastive"]
        for name, options in _MODES.items():
            seconds, cpu, peak = measure([str(folder), *baseline, *options])
            print(f"compare.py, {name:<20} {seconds:6.1f} s (CPU {cpu:.1f} s)  {peak / MIB:6.0f} MiB", flush=True)


def write_study(root: Path, seeds: int, epochs: int) -> Path:
    """Every loss on every data set over seeds; returns the study's folder."""
    for place, loss in enumerate(LOSSES):
        for data in DATASETS:
            words = [f"loss={loss}", f"dataset={data}", f"trainer.max_epochs={epochs}", "study=many", "logger=files"]
            config = OmegaConf.to_container(compose_config(words), resolve=True)
            for seed in range(seeds):
                write_run(changed(config, {"seed": seed, "paths.output_dir": str(root)}), 0.6 + 0.04 * place, epochs)
    return root / "many"


def measure(words: list[str]) -> tuple[float, float, int]:
    """Seconds, seconds of CPU, and peak bytes of one call of the script, start of Python included."""
    started = time.perf_counter()
    command = [sys.executable, "-c", _MEASURED, str(_SCRIPT), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - started
    cpu, peak = done.stderr.rsplit("used", 1)[1].split()
    return seconds, float(cpu), int(peak) * (1 if sys.platform == "darwin" else 1024)
