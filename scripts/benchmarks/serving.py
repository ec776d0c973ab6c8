"""A trained model at work: loading it, embedding JPEG files against its trunk alone, and searching a large gallery."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import torch
from torch import Tensor
from torch.nn.functional import normalize

from benchmarks.frozen import ARCHIVE, unpack
from benchmarks.measuring import threads, use_threads
from benchmarks.photographs import make_photographs
from benchmarks.stopwatch import Span, silence
from benchmarks.table import Table
from metriscope.build.network import build_network
from metriscope.serving.description import Description
from metriscope.serving.embedded import Embedded, neighbours
from metriscope.serving.embedder import Embedder
from metriscope.serving.galleries import load_saved, save

SIDE, BATCH = 112, 64
BACKBONE = {
    "_target_": "metriscope.models.timm.efficientnet_lite0",
    "name": "efficientnet_lite0",
    "pooling": "avg",
    "weights": None,
    "freeze": False,
    "freeze_batch_norm": False,
    "precision": None,
    "cache_features": "auto",
    "channels_last": True,
}
HEAD = {"_target_": "metriscope.models.heads.LinearHead", "name": "linear", "size": 128, "normalize": True}
AUGMENTATION = {"_target_": "metriscope.data.inputs.augment.Augmentation", "name": "none", "crop": "none"}
_LOAD = """
import sys, time
import torch, torchvision, timm
before = time.perf_counter()
import metriscope
model = metriscope.load(sys.argv[1])
print(time.perf_counter() - before)
"""


def run(quick: bool, data_dir: Path | None) -> None:
    """Print seconds of loading, images per second, and milliseconds of searches."""
    use_threads(threads())
    if data_dir is None or not (data_dir / ARCHIVE).is_file():
        print(f"embedding skipped: give --data-dir, the folder that holds {ARCHIVE}")
    else:
        with tempfile.TemporaryDirectory() as folder:
            unpack(data_dir / ARCHIVE, Path(folder), 0, 10 if quick else 200)
            embedding(Path(folder) / "photographs" / "test", rounds=2 if quick else 5)
    loading(repeats=1 if quick else 3)
    searching(1_000 if quick else 100_000, repeats=3 if quick else 10)


def model(seed: int = 0) -> Embedder:
    """EfficientNet-Lite0 with a head of 128 on CIFAR-10's images at 112 px, with the weights of no training."""
    mean, std = [0.498] * 3, [0.502] * 3
    shape = (3, SIDE, SIDE)
    network = build_network(BACKBONE, HEAD, shape, normalised_with=(mean, std), seed=seed)
    described = Description(BACKBONE, HEAD, AUGMENTATION, shape, True, mean, std, image_size=SIDE)
    return Embedder(described, network.state_dict())


def embedding(folder: Path, rounds: int) -> None:
    """Files against the trunk's own throughput, in turns."""
    embedder = model()
    paths = sorted(folder.rglob("*.jpg"))
    inputs = [embedder.preparation.pixels(path) for path in paths]
    batches = [
        embedder.preparation.batch(inputs[start : start + BATCH], embedder.device).contiguous(
            memory_format=torch.channels_last
        )
        for start in range(0, len(inputs), BATCH)
    ]
    print(f"{len(paths):,} JPEG files of 32 px, EfficientNet-Lite0 at {SIDE} px, batches of {BATCH}; images/s")
    columns = [("round", 6), ("files", 8), ("trunk on tensors", 16), ("share", 6), ("share by CPU s", 14)]
    table = Table(columns)
    walls, cpus = [], []
    embedder.embed(paths[:BATCH])
    for number in range(rounds):
        start = Span.now()
        embedder.embed(paths, BATCH)
        between = Span.now()
        with torch.inference_mode():
            for batch in batches:
                embedder.network.trunk(batch)
        files, trunk = between.since(start), Span.now().since(between)
        walls.append(trunk.wall / files.wall)
        cpus.append(trunk.cpu / files.cpu)
        speeds = [f"{len(paths) / side.wall:,.0f}" for side in (files, trunk)]
        table.row([str(number + 1), *speeds, f"{walls[-1]:.0%}", f"{cpus[-1]:.0%}"])
    print(f"median share: {median(walls):.0%}, by CPU seconds {median(cpus):.0%} (wanted: at least 80 %)")


def loading(repeats: int) -> None:
    """Seconds of ``metriscope.load`` in a process that has its libraries imported."""
    from metriscope import compose_config, train

    with tempfile.TemporaryDirectory() as folder:
        for half in ("train", "test"):
            make_photographs(Path(folder) / "photographs" / half, 40)
        words = ["dataset=folder", f"dataset.path={folder}/photographs", "dataset.image_size=32", "augmentation=none"]
        words += ["dataset.validation=0", "backbone=efficientnet_lite0", "backbone.weights=null", "logger=files"]
        words += ["logger.figures=false", "trainer.max_epochs=1", "sampler.batch_size=20", "trainer=cpu"]
        with silence():
            run_folder = train(compose_config([*words, f"paths.output_dir={folder}"])).folder
        taken = [
            float(
                subprocess.run(
                    [sys.executable, "-c", _LOAD, str(run_folder)], capture_output=True, text=True, check=True
                ).stdout
            )
            for _ in range(repeats)
        ]
    print(f"load of a run of EfficientNet-Lite0, libraries imported: median {median(taken):.2f} s (wanted: under 2 s)")


def searching(size: int, repeats: int) -> None:
    """A saved gallery of random unit vectors: loaded, first and later answers, compared with float64."""
    gallery, queries = unit(size, 0), unit(10, 1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "gallery.index"
        save(Embedded(gallery, "model", [f"{i}.jpg" for i in range(size)], ["label"] * size), path)
        before = time.perf_counter()
        loaded = load_saved(path)
        print(f"{size:,} x 512 from a file, verified and prepared: {time.perf_counter() - before:.2f} s")
    table = Table([("queries", 8), ("first ms", 8), ("later ms, median", 16), ("least", 6)])
    for count in (1, 10):
        asked = Embedded(queries[:count], "model")
        taken = []
        for _ in range(repeats + 1):
            before = time.perf_counter()
            found = neighbours(asked, loaded, 10)
            taken.append(1e3 * (time.perf_counter() - before))
        later = taken[1:]
        table.row([str(count), f"{taken[0]:,.0f}", f"{median(later):,.0f}", f"{min(later):,.0f}"])
        if not torch.equal(found.indices, brute_force(queries[:count], gallery)):
            raise AssertionError("other neighbours than those of float64")
    print("the neighbours are those of float64; wanted: under 300 ms")


def unit(count: int, seed: int) -> Tensor:
    """Random unit vectors (count, 512)."""
    return normalize(torch.randn(count, 512, generator=torch.Generator().manual_seed(seed)), dim=1)


def brute_force(queries: Tensor, gallery: Tensor) -> Tensor:
    """The ten nearest by distances in float64."""
    distances = torch.cat(
        [(gallery.double() - query).square().sum(1, keepdim=True) for query in queries.double()], dim=1
    )
    return distances.T.sort(dim=1, stable=True).indices[:, :10]
