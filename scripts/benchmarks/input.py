"""Training batches: one uint8 tensor, sliced and augmented, against torchvision's per-image transforms."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import CIFAR10, MNIST

from benchmarks import photographs
from benchmarks.measuring import Times, isolated, side_by_side
from benchmarks.table import Table, ratio
from metriscope import seeds
from metriscope.data.batching import Batching
from metriscope.data.datamodule import DataModule
from metriscope.data.examples import Examples
from metriscope.data.inputs.augment import Augmentation
from metriscope.data.splits import Splits

BATCH, CLASSES = 250, 10


class Images(NamedTuple):
    """A kind of image and how it is prepared, for both sides."""

    shape: tuple[int, int, int]
    pad: int
    flip: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]


KINDS = {
    "MNIST: normalised": Images((1, 28, 28), 0, False, (0.1307,), (0.3081,)),
    "CIFAR: crop, flip, normalised": Images((3, 32, 32), 4, True, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
}


class _Mnist(MNIST):
    """torchvision's data set, with its own way to serve an image, around images at hand."""

    def __init__(self, images: Tensor, labels: Tensor, transform: Callable[[object], Tensor]) -> None:
        self.data, self.targets = images.squeeze(1), labels
        self.transform, self.target_transform = transform, None


class _Cifar(CIFAR10):
    """As :class:`_Mnist`, for colour images."""

    def __init__(self, images: Tensor, labels: Tensor, transform: Callable[[object], Tensor]) -> None:
        self.data, self.targets = images.permute(0, 2, 3, 1).contiguous().numpy(), labels.tolist()
        self.transform, self.target_transform = transform, None


def run(quick: bool, data_dir: Path | None) -> None:
    """Print images per second of an epoch, and ratios."""
    size = 1000 if quick else 20_000
    print(f"an epoch of {size} random images in batches of {BATCH}; images/s: best (median)")
    table = Table([("images", 30), ("side", 24), ("images/s", 22), ("ours is faster", 16)], names=2)
    for kind in KINDS:
        names, times = isolated(compare, kind, size, 1 if quick else 5)
        for name, taken in zip(names, times, strict=True):
            speed = f"{size / taken.minimum:,.0f} ({size / taken.median:,.0f})"
            table.row([kind, name, speed, "" if name == "ours" else ratio(taken, times[0])])
    photographs.run(quick)


def compare(kind: str, size: int, repeats: int) -> tuple[list[str], list[Times]]:
    """Times of an epoch: ours, the peer in process, the peer with 2 workers."""
    data = images(kind, size)
    sources = {
        "ours": lambda: our_batches(kind, *data),
        "DataLoader, 0 workers": lambda: peer_batches(kind, *data, workers=0),
        "DataLoader, 2 workers": lambda: peer_batches(kind, *data, workers=2),
    }
    work = [partial(_exhaust, source, size) for source in sources.values()]
    return list(sources), side_by_side(work, seconds=0, at_least=repeats, at_most=repeats)


def images(kind: str, size: int) -> tuple[Tensor, Tensor]:
    """Random uint8 (N, C, H, W) and labels (N,) in equal shares."""
    source = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (size, *KINDS[kind].shape), dtype=torch.uint8, generator=source)
    return pixels, torch.arange(size) % CLASSES


def our_batches(kind: str, pixels: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """An epoch as the trainer gets it: from the dataloader, then augmented as a batch."""
    _, pad, flip, mean, std = KINDS[kind]
    examples = Examples(pixels, labels, tuple(map(str, range(CLASSES))))
    splits = Splits(examples, None, examples, "closed_set")
    data = DataModule(
        splits,
        Batching({"_target_": "metriscope.data.samplers.ClassBalancedBatchSampler", "batch_size": BATCH}),
        Augmentation("pad", pad=pad, flip=flip, mean=mean, std=std),
        evaluation_batch_size=BATCH,
        seed=0,
    )
    for step, (inputs, classes, index) in enumerate(data.train_dataloader()):
        source = seeds.generator(0, "augmentation", 0, step, 0)
        numbers = torch.rand(len(index), data.augmentation.width, generator=source)
        yield data.augmentation(data.augmentation.plan(inputs, numbers)), classes


def peer_batches(kind: str, pixels: Tensor, labels: Tensor, workers: int) -> Iterator[tuple[Tensor, Tensor]]:
    """An epoch of torchvision's data set, shuffled, with its transforms."""
    shape, pad, flip, mean, std = KINDS[kind]
    augmentation = [transforms.RandomCrop(shape[1:], padding=pad)] if pad else []
    augmentation += [transforms.RandomHorizontalFlip()] if flip else []
    transform = transforms.Compose([*augmentation, transforms.ToTensor(), transforms.Normalize(mean, std)])
    dataset = (_Mnist if shape[0] == 1 else _Cifar)(pixels, labels, transform)
    return iter(DataLoader(dataset, BATCH, shuffle=True, num_workers=workers))


def _exhaust(source: Callable[[], Iterator[tuple[Tensor, Tensor]]], expected: int) -> None:
    seen = sum(len(classes) for _, classes in source())
    if seen != expected:
        raise AssertionError(f"{seen} images in an epoch of {expected}")
