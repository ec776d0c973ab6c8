"""Commands in forks of this process, which has imported everything, and the runs that they are given."""

import os
import signal
import sys
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig
from PIL import Image

from metriscope import cli
from metriscope.commands import train as train_command
from metriscope.config.compose import compose_config

SUPPORT = Path(__file__).resolve().parents[2] / "tests" / "support"
TINY = [
    "head.size=6",
    "sampler.batch_size=20", "trainer=cpu", "trainer.max_epochs=3", "trainer.log_every_n_steps=1",
    "optimizer=adam", "evaluation.metrics.recall_at.k=[1,2]", "evaluation.monitor=val/loss",
    "evaluation.classification=false", "evaluation.save_embeddings=true", "evaluation.per_class=true",
    "study=faults",
]  # fmt: skip
LOSSES = {
    "memory": ["loss=contrastive", "memory=xbm", "memory.size=40", "miner=all"],
    "proxies": ["loss=proxy_anchor", "optimizer.lr=0.01"],
    "state": ["loss=remembering"],
}
"""Words of a loss with a memory, one with parameters, and one with a state for each sample.

The loss of the validation set, which picks the best checkpoint, falls in every epoch.
"""
_SYNTHETIC = ["dataset=synthetic", "dataset.classes=5", "dataset.per_class=20", "dataset.dimension=8",
              "backbone.widths=[12]"]  # fmt: skip
FURTHER = {
    "plain": [*_SYNTHETIC, "scheduler=cosine", "logger=none"],
    "figures": [*_SYNTHETIC, "scheduler=cosine", "logger=files"],
    "schedule by epochs": [*_SYNTHETIC, "scheduler=step", "scheduler.step_size=1", "logger=none"],
    "schedule by a metric": [*_SYNTHETIC, "scheduler=plateau", "scheduler.patience=0", "scheduler.monitor=val/mrr",
                             "logger=none"],
    "stopping early": [*_SYNTHETIC, "callbacks=early_stopping", "callbacks.early_stopping.patience=1",
                       "+callbacks.early_stopping.min_delta=1", "trainer.max_epochs=6", "logger=none"],
    "workers": ["dataset=folder", "dataset.cache=none", "dataset.memory_limit_mb=0", "dataset.num_workers=1",
                "dataset.validation=0.5", "dataset.image_size=8", "backbone=small_cnn", "augmentation=none",
                "logger=none"],
}  # fmt: skip
"""Words by what a point needs."""

_SECONDS = 900


@dataclass(frozen=True)
class Ended:
    """How a command ended; ``code`` is negative for a signal and None for a command that had to be ended."""

    code: int | None
    errors: str

    @property
    def in_one_line(self) -> bool:
        """Whether it says what was wrong in one line."""
        return self.last_line.startswith("metriscope: ") and "Traceback" not in self.errors

    @property
    def last_line(self) -> str:
        return self.errors.rstrip().rpartition("\n")[2]


class Bench:
    """A folder in which one run after the other is made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.outputs = folder / "outputs"
        self.flag = folder / "struck"
        self._composed: dict[tuple[str, ...], DictConfig] = {}
        sys.path.insert(0, str(SUPPORT))
        part = folder / "configs" / "loss" / "remembering.yaml"
        part.parent.mkdir(parents=True)
        part.write_text("# What each sample has cost so far.\nname: remembering\n_target_: toy_parts.Remembering\n")
        _write_images(folder / "images")

    def words(self, loss: str, needs: str) -> list[str]:
        """The command line of a run."""
        words = [*TINY, *FURTHER[needs], *LOSSES[loss], f"paths.output_dir={self.outputs}"]
        if needs == "workers":
            words.append(f"dataset.path={self.folder / 'images'}")
        return [*words, f"hydra.searchpath=[{self.folder / 'configs'}]"]

    def command(self, words: list[str], before: Callable[[], None] | None = None) -> Ended:
        """Run ``train.py`` with these words; ``before`` is called in its process."""
        output, errors = self.folder / "output.log", self.folder / "errors.log"
        if (key := tuple(words)) not in self._composed:
            self._composed[key] = compose_config(words)
        cfg = self._composed[key]
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            # Half the time of a command this small goes into its config.
            train_command.compose_config = lambda _: deepcopy(cfg)
            _become(words, before, output, errors)
        deadline = time.monotonic() + _SECONDS
        while not (found := os.waitpid(pid, os.WNOHANG))[0]:
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                return Ended(None, errors.read_text())
            time.sleep(0.005)
        return Ended(os.waitstatus_to_exitcode(found[1]), errors.read_text())


def _become(words: list[str], before: Callable[[], None] | None, output: Path, errors: Path) -> None:
    code = 1
    try:
        for stream, path in ((1, output), (2, errors)):
            with path.open("w") as file:
                os.dup2(file.fileno(), stream)
        if before is not None:
            before()
        sys.argv = ["train.py", *words]
        cli.train()
    except SystemExit as ended:
        code = int(ended.code or 0)
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _write_images(folder: Path) -> None:
    """Five classes of twelve images of one grey each."""
    for label in range(5):
        place = folder / f"class{label}"
        place.mkdir(parents=True)
        for number in range(12):
            Image.new("RGB", (8, 8), (40 * label, 20 * number, 128)).save(place / f"{number}.png")
