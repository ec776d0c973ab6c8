"""Photographs of the size of CUB's, decoded once, against torchvision's transforms in a DataLoader with 2 workers."""

import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision import io
from torchvision.datasets import ImageFolder
from torchvision.datasets.folder import default_loader
from torchvision.transforms import v2

from benchmarks.measuring import Times, isolated, side_by_side
from benchmarks.table import Table, ratio
from metriscope import seeds
from metriscope.data.batching import Batching
from metriscope.data.datamodule import DataModule
from metriscope.data.datasets import folder as folder_dataset
from metriscope.data.inputs.augment import Augmentation
from metriscope.data.inputs.decoded import DecodeOnce
from metriscope.data.splits import Splits

SIZE = (500, 375)
SIDE, BATCH, CLASSES, WORKERS = 224, 112, 20, 2
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def run(quick: bool) -> None:
    """Print images per second of an epoch of training batches, and what building the cache takes."""
    count = 240 if quick else 2000
    with tempfile.TemporaryDirectory() as folder:
        make_photographs(Path(folder) / "photographs", count)
        names, times, building, size = isolated(compare, folder, count, 1 if quick else 3)
    print(f"\nan epoch of {count} JPEG photographs of {SIZE[0]} x {SIZE[1]} (on average {size / 1024:.0f} KiB),")
    print(f"RandomResizedCrop({SIDE}), flip, normalised, in batches of {BATCH}; images/s: best (median)")
    table = Table([("side", 44), ("images/s", 22), ("ours is faster", 16)], names=1)
    for name, taken in zip(names, times, strict=True):
        speed = f"{count / taken.minimum:,.0f} ({count / taken.median:,.0f})"
        table.row([name, speed, "" if name == names[0] else ratio(taken, times[0])])
    print(f"decoding once took {building:.1f} s, {count / building:,.0f} images/s: the first epoch of all runs pays it")


def make_photographs(folder: Path, count: int) -> None:
    """JPEG files ``<class>/<number>.jpg``: noise whose amplitude falls with its frequency, as in photographs."""
    source = np.random.default_rng(0)
    for number in range(count):
        width, height = SIZE if number % 4 else SIZE[::-1]
        pixels = np.zeros((height, width, 3), np.float32)
        for cells in (2, 6, 18, 54, 162):
            layer = Image.fromarray(source.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
            pixels += (np.asarray(layer.resize((width, height), Image.Resampling.BICUBIC)) - 128.0) / cells**0.5
        path = folder / f"class {number % CLASSES}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((pixels + 128).clip(0, 255).astype(np.uint8)).save(path, quality=90)


def compare(folder: str, count: int, repeats: int) -> tuple[list[str], list[Times], float, float]:
    """Times of an epoch of ours and the peer's, seconds to decode once, and bytes of a file."""
    photographs = Path(folder) / "photographs"
    data = our_data(photographs, Path(folder) / "cache")
    before = time.perf_counter()
    data.train_dataloader()
    building = time.perf_counter() - before
    sides = {
        "ours, decoded once": lambda: our_epoch(data),
        f"DataLoader, {WORKERS} workers, Pillow images": lambda: peer_epoch(photographs, on_tensors=False),
        f"DataLoader, {WORKERS} workers, decode_jpeg to tensors": lambda: peer_epoch(photographs, on_tensors=True),
    }
    work = [partial(_exhaust, source, count) for source in sides.values()]
    times = side_by_side(work, seconds=0, at_least=repeats, at_most=repeats)
    sizes = [path.stat().st_size for path in photographs.rglob("*.jpg")]
    return list(sides), times, building, float(np.mean(sizes))


def our_data(photographs: Path, cache: Path) -> DataModule:
    """All photographs as training images, at the defaults of ``augmentation=dml_224``."""
    source = folder_dataset.load(str(photographs))
    assert source.test is None, "a folder of classes is one pool"
    everything = source.train
    return DataModule(
        Splits(everything, None, everything, "closed_set"),
        Batching({"_target_": "metriscope.data.samplers.ShuffleBatchSampler", "batch_size": BATCH}),
        Augmentation("random_resized", size=SIDE, flip=True, mean=MEAN, std=STD),
        evaluation_batch_size=BATCH,
        seed=0,
        decoding=DecodeOnce("disk", cache, in_memory=False),
    )


def our_epoch(data: DataModule) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches as the trainer gets them."""
    augmentation = data.augmentation
    for step, (inputs, labels, index) in enumerate(data.train_dataloader()):
        source = seeds.generator(0, "augmentation", 0, step, 0)
        numbers = torch.rand(len(index), augmentation.width, generator=source)
        yield augmentation(augmentation.plan(inputs, numbers)), labels


def peer_epoch(photographs: Path, on_tensors: bool) -> Iterator[tuple[Tensor, Tensor]]:
    """An epoch of torchvision's folder data set with its transforms v2; workers stay alive between epochs."""
    if on_tensors not in _LOADERS:
        crop = [v2.RandomResizedCrop(SIDE, antialias=True), v2.RandomHorizontalFlip()]
        transform = v2.Compose([*crop, v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)])
        dataset = ImageFolder(str(photographs), transform, loader=_tensor if on_tensors else default_loader)
        _LOADERS[on_tensors] = DataLoader(dataset, BATCH, shuffle=True, num_workers=WORKERS, persistent_workers=True)
    return iter(_LOADERS[on_tensors])


_LOADERS: dict[bool, DataLoader[tuple[Tensor, Tensor]]] = {}


def _tensor(path: str) -> Tensor:
    image: Tensor = io.decode_jpeg(io.read_file(path), mode=io.ImageReadMode.RGB)
    return image


def _exhaust(source: Callable[[], Iterator[tuple[Tensor, Tensor]]], expected: int) -> None:
    seen = sum(len(labels) for _, labels in source())
    if seen != expected:
        raise AssertionError(f"{seen} images in an epoch of {expected}")
