"""Image files decoded once, into memory or into a file that all runs share."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import PIL
import torch
from torch import Tensor

from metriscope.data.inputs.boxes import Item, in_order
from metriscope.data.inputs.caches import ArrayFile, Draft
from metriscope.data.inputs.decoding import Size
from metriscope.data.inputs.images import ImageFiles, Squashed
from metriscope.errors import InputError

MODES = ("auto", "disk", "none")


@dataclass(frozen=True, eq=False)
class DecodedImages:
    """Decoded images.

    Attributes:
        files: the files that the images were decoded from.
        pixels: uint8 (M, H, W, 3), in memory or mapped from disk.
        sizes: int64 (M, 2), height and width of the images before they were transformed.
        rows: int64 (N,), positions of the images in ``pixels`` and ``sizes``.
    """

    files: ImageFiles
    pixels: Tensor
    sizes: Tensor
    rows: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.files.shape

    def take(self, indices: Tensor) -> "DecodedImages":
        return replace(self, files=self.files.take(indices), rows=self.rows[indices])

    def fetch(self, indices: Tensor) -> Tensor | Squashed:
        """The same batch as ``files.fetch`` returns."""
        rows = self.rows[indices]
        return self.files.batch(self.pixels.index_select(0, rows).permute(0, 3, 1, 2), self.sizes[rows])


class DecodeOnce:
    """Decodes the files of a data set once per run if they fit into memory, otherwise once for all runs.

    Args:
        mode: ``auto``; ``disk``, once for all runs even if the images fit into memory; or ``none``, never for all
            runs: images that do not fit into memory are decoded batch by batch.
        folder: folder of the decoded images.
        in_memory: whether the images fit into memory.

    Raises:
        InputError: the mode is unknown.
    """

    def __init__(self, mode: str, folder: Path, in_memory: bool) -> None:
        if mode not in MODES:
            raise InputError(f"dataset.cache={mode}: choose one of {', '.join(MODES)}")
        self.folder = folder
        self.to_disk = mode == "disk" or (mode == "auto" and not in_memory)
        self.in_memory = in_memory and not self.to_disk
        self._decoded: dict[str, tuple[Tensor, Tensor]] = {}

    @property
    def decodes(self) -> bool:
        """Whether files are decoded once; False if batch by batch."""
        return self.to_disk or self.in_memory

    def open(self, files: ImageFiles, among: Iterable[Item]) -> ImageFiles | DecodedImages:
        """The images of ``files``, decoded together with all images ``among``.

        Raises:
            InputError: a file cannot be read, the images differ in size but must not, or the folder cannot be
                written.
        """
        if not self.decodes:
            return files
        everything = files.holding(in_order(among))
        facts: dict[str, Any] = {"files": everything.digest(), "decoder": PIL.__version__}
        facts |= {"size": files.size, "transform": repr(files.transform)}
        if files.exif:  # else absent, so that caches of images as they lie stay valid
            facts["exif"] = True
        cache = ArrayFile(self.folder, facts, "make room, or set paths.cache_dir=<folder> or dataset.cache=none")
        if cache.path.name not in self._decoded:
            self._decoded[cache.path.name] = _decode(everything) if self.in_memory else _decode_to(cache, everything)
        place = {item: row for row, item in enumerate(everything.items)}
        rows = torch.tensor([place[item] for item in files.items], dtype=torch.int64)
        return DecodedImages(files, *self._decoded[cache.path.name], rows)


def _decode(files: ImageFiles) -> tuple[Tensor, Tensor]:
    _, height, width = files.shape
    pixels = torch.empty(len(files), height, width, 3, dtype=torch.uint8)
    sizes = torch.empty(len(files), 2, dtype=torch.int64)

    def put(start: int, images: Tensor, seen: list[Size]) -> None:
        pixels[start : start + len(images)] = images
        sizes[start : start + len(images)] = torch.tensor(seen)

    files.decode_all(put)
    return pixels, sizes


def _decode_to(cache: ArrayFile, files: ImageFiles) -> tuple[Tensor, Tensor]:
    def fill(draft: Draft) -> list[Size]:
        sizes: dict[int, Size] = {}

        def put(start: int, images: Tensor, seen: list[Size]) -> None:
            draft.write(start, images)
            sizes.update(enumerate(seen, start))

        files.decode_all(put)
        return [sizes[row] for row in range(len(files))]

    _, height, width = files.shape
    pixels, sizes = cache.get("decoded images", (len(files), height, width, 3), torch.uint8, fill)
    return pixels, torch.tensor(sizes)
