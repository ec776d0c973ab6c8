"""CIFAR-10 from torchvision's files."""

from pathlib import Path

import torch
from torchvision.datasets import CIFAR10
from torchvision.datasets.utils import check_integrity

from metriscope.data.examples import Examples, Source
from metriscope.data.files.download import download as fetch
from metriscope.data.files.download import missing
from metriscope.errors import InputError


def load(data_dir: str, download: bool = False) -> Source:
    """Images uint8 (N, 3, 32, 32) in 10 classes.

    The files are pickles; torchvision compares their md5 with the published one before it opens them.

    Args:
        data_dir: holds ``cifar-10-batches-py/``.
        download: fetch the archive when a file is missing or corrupt.

    Raises:
        InputError: files are missing or corrupt; the message names them.
    """
    folder = Path(data_dir) / CIFAR10.base_folder
    files = [*CIFAR10.train_list, *CIFAR10.test_list, [CIFAR10.meta["filename"], CIFAR10.meta["md5"]]]
    broken = [name for name, md5 in files if not check_integrity(str(folder / name), md5)]
    if broken and download:
        fetch("CIFAR10", lambda: CIFAR10(data_dir, download=True), Path(data_dir))
    elif absent := [name for name in broken if not (folder / name).is_file()]:
        raise missing("CIFAR10", absent, folder)
    elif broken:
        raise InputError(
            f"CIFAR10 is corrupt: {', '.join(broken)} in {folder} has the wrong md5; delete it and set "
            "dataset.download=true to fetch it anew"
        )
    return Source(train=_half(data_dir, True), test=_half(data_dir, False))


def _half(data_dir: str, train: bool) -> Examples:
    data = CIFAR10(data_dir, train=train)
    images = torch.from_numpy(data.data).permute(0, 3, 1, 2).contiguous()
    return Examples(images, torch.tensor(data.targets), tuple(data.classes))
