"""A 128-d head with triplet loss on a frozen EfficientNet-Lite0: features kept, against forwarding in every epoch."""

import tarfile
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl

from benchmarks.measuring import DISTURBED, isolated, stalled
from benchmarks.stopwatch import Span, silence
from benchmarks.table import Table

ARCHIVE = "cifar10-jpg.tar"
SIDE = 112
FORWARDING_EPOCHS = 2
SETTING = (
    "dataset=folder",
    f"dataset.image_size={SIDE}",
    "dataset.validation=0",
    "augmentation=none",
    "backbone=efficientnet_lite0",
    "backbone.freeze=true",
    "loss=triplet",
    "head.size=128",
    "sampler.batch_size=250",
    "trainer=cpu",
    "evaluation.classification=false",
    "logger=none",
    "resume=never",
    "+callbacks.epochs._target_=benchmarks.frozen.Epochs",
)
SIDES = {
    "forwarding": ("backbone.cache_features=false",),
    "features kept": (),
    "forwarding, trunk in bfloat16": ("backbone.cache_features=false", "backbone.precision=bf16"),
    "features kept, trunk in bfloat16": ("backbone.precision=bf16",),
}


class Result(NamedTuple):
    """Seconds of ``train(cfg)`` and of its epochs, the test's Recall@1, and whether the machine was busy otherwise."""

    job: Span
    epochs: Span
    recall: float
    busy: bool


class Epochs(pl.Callback):
    """Takes the time from the first epoch to the end of the last."""

    def __init__(self) -> None:
        self.started: Span | None = None
        self.taken = Span(0, 0)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.started = self.started or Span.now()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert self.started is not None
        self.taken = Span.now().since(self.started)


def run(quick: bool, data_dir: Path | None) -> None:
    """Print seconds of whole runs and their Recall@1."""
    if data_dir is None or not (data_dir / ARCHIVE).is_file():
        print(f"frozen skipped: give --data-dir, the folder that holds {ARCHIVE}")
        return
    per_class, tests, epochs = (20, 10, 4) if quick else (1000, 100, 20)
    print(f"CIFAR-10 as JPEG files at {SIDE} px, {10 * per_class} to train and {10 * tests} to test, triplet, 10 x 25")
    print("seconds of a run without imports: files, embedding, training, test; CPU seconds mind a busy machine less")
    print(f"forwarding runs {FORWARDING_EPOCHS} epochs; the others are extrapolated from these (*)")
    columns = [("side", 32), ("epochs run", 10), ("seconds", 8), ("CPU s", 8), (f"s for {epochs}", 9)]
    columns += [("faster", 7), ("by CPU s", 8), ("Recall@1", 8), (f"after {FORWARDING_EPOCHS}", 8)]
    table = Table(columns)
    slow = Span(0, 0)
    with tempfile.TemporaryDirectory() as folder:
        unpack(data_dir / ARCHIVE, Path(folder), per_class, tests)
        for number, (name, words) in enumerate(SIDES.items()):
            forwards = name.startswith("forwarding")
            # Each side has its own cache: the first run of a side finds nothing there.
            short = isolated(job, folder, f"short{number}", FORWARDING_EPOCHS, words)
            full = short if forwards else isolated(job, folder, f"full{number}", epochs, words)
            further = (epochs - FORWARDING_EPOCHS) / FORWARDING_EPOCHS if forwards else 0
            whole = Span(*(job + further * own for job, own in zip(full.job, full.epochs, strict=True)))
            slow = whole if forwards else slow
            shown = f"{whole.wall:,.1f}" + ("*" if forwards else " ")
            cells = [name, str(FORWARDING_EPOCHS if forwards else epochs), f"{full.job.wall:,.1f}"]
            cells += [f"{full.job.cpu:,.1f}", shown]
            doubt = "~" if full.busy or short.busy else ""
            cells += ["", ""] if forwards else [f"{slow.wall / whole.wall:.1f}x{doubt}", f"{slow.cpu / whole.cpu:.1f}x"]
            table.row([*cells, "" if forwards else f"{full.recall:.4f}", f"{short.recall:.4f}"])


def unpack(archive: Path, folder: Path, per_class: int, tests: int) -> None:
    """The first images of each class, ``photographs/{train,test}/<class>/<number>.jpg``."""
    wanted = {"train": per_class, "test": tests}
    with tarfile.open(archive) as tar:
        for member in tar:
            half, name, file = (*Path(member.name).parts, "", "", "")[:3]
            if member.isfile() and half in wanted and file.endswith(".jpg") and int(file[:-4]) < wanted[half]:
                path = folder / "photographs" / half / name / file
                path.parent.mkdir(parents=True, exist_ok=True)
                content = tar.extractfile(member)
                assert content is not None
                path.write_bytes(content.read())


def job(folder: str, name: str, epochs: int, words: tuple[str, ...]) -> Result:
    """One run of the command line, with a cache of its own."""
    import metriscope.build.run
    import metriscope.ending  # noqa: F401  (imports are not part of the time)
    from metriscope.app import train
    from metriscope.config.compose import compose_config

    places = [f"dataset.path={folder}/photographs", f"paths.output_dir={folder}/{name}/outputs"]
    places += [f"paths.cache_dir={folder}/{name}/cache", f"trainer.max_epochs={epochs}"]
    cfg: Any = compose_config([*SETTING, *words, *places])
    waited, before = stalled(), Span.now()
    with silence():
        outcome = train(cfg)
    taken = Span.now().since(before)
    busy = stalled() - waited > DISTURBED * taken.wall
    watch = next(c for c in outcome.trainer.callbacks if isinstance(c, Epochs))
    return Result(taken, watch.taken, outcome.metrics["test/recall_at_1"], busy)
