"""MNIST and FashionMNIST from their idx files, in torchvision's folder layout."""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from metriscope.data.examples import Examples, Source
from metriscope.data.files.download import download as fetch
from metriscope.data.files.download import missing
from metriscope.errors import InputError

_NAMES = {
    "MNIST": tuple("0123456789"),
    "FashionMNIST": (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
}


def load(data_dir: str, variant: str = "MNIST", download: bool = False) -> Source:
    """Images uint8 (N, 1, 28, 28) in 10 classes.

    Args:
        data_dir: holds ``<variant>/raw/*-ubyte``, each plain or as .gz.
        variant: ``MNIST`` or ``FashionMNIST``.
        download: fetch missing files.

    Raises:
        InputError: files are missing, truncated or corrupt; the message names them.
    """
    if variant not in _NAMES:
        raise InputError(f"dataset.variant={variant}: choose one of {', '.join(_NAMES)}")
    folder = Path(data_dir) / variant / "raw"
    if download and _missing(folder):
        from torchvision import datasets  # seconds to import

        fetch(variant, lambda: getattr(datasets, variant)(data_dir, download=True), Path(data_dir))
    if absent := _missing(folder):
        raise missing(variant, absent, folder)
    return Source(train=_half(folder, "train", variant), test=_half(folder, "t10k", variant))


def read_idx(path: Path) -> Tensor:
    """An idx file of unsigned bytes, plain or gzipped, as a uint8 tensor.

    Raises:
        InputError: the file cannot be read, is no idx file, or is shorter or longer than its header says.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"cannot read {path}: {error}; delete it and fetch it anew") from error
    if len(content) < 4 or content[:3] != b"\0\0\x08" or not 1 <= content[3] <= 4:
        raise InputError(f"{path} is no idx file of bytes: it begins with {content[:4].hex(' ') or 'nothing'}")
    start = 4 + 4 * content[3]
    shape = [int.from_bytes(content[place : place + 4], "big") for place in range(4, start, 4)]
    expected = start + math.prod(shape)
    if len(content) != expected:
        raise InputError(
            f"{path} is corrupt: {expected} bytes expected, {len(content)} found; delete it and fetch it anew"
        )
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=start).copy()).view(shape)


def _half(folder: Path, half: str, variant: str) -> Examples:
    images_file, labels_file = (_find(folder, name) for name in _files(half))
    assert images_file is not None
    assert labels_file is not None
    images, labels = read_idx(images_file), read_idx(labels_file)
    if images.dim() != 3 or labels.dim() != 1 or len(images) != len(labels):
        raise InputError(
            f"{images_file} holds {tuple(images.shape)} and {labels_file} {tuple(labels.shape)}: "
            "images (N, H, W) and as many labels expected"
        )
    names = _NAMES[variant]
    if len(labels) and int(labels.max()) >= len(names):
        raise InputError(f"{labels_file} is corrupt: label {int(labels.max())} is not in 0..{len(names) - 1}")
    return Examples(images.unsqueeze(1), labels.long(), names)


def _files(half: str) -> tuple[str, str]:
    return f"{half}-images-idx3-ubyte", f"{half}-labels-idx1-ubyte"


def _find(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def _missing(folder: Path) -> list[str]:
    return [name for half in ("train", "t10k") for name in _files(half) if _find(folder, name) is None]
