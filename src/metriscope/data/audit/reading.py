"""One pass over the examples of a part: what an audit keeps of each of them."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import torch
from rich.progress import track
from torch import Tensor

from metriscope.data.audit.signature import THUMBNAIL, image_signatures
from metriscope.data.examples import Examples
from metriscope.data.inputs.decoding import Square, decode
from metriscope.data.inputs.images import ImageFiles
from metriscope.errors import InputError
from metriscope.evaluation.search.workers import single_threaded_workers
from metriscope.models.paired import Pairs
from metriscope.terminal import is_interactive

_CHUNK = 64  # files that a thread reads together
_ROWS = 1024  # examples in memory that are looked at together

Result = TypeVar("Result")


class Seen(NamedTuple):
    """What is kept of N examples."""

    signatures: Tensor
    """(N, D) float32: those of images; of vectors the vectors themselves, of which only a whole set has signatures."""
    stored: list[bytes]
    """Digests of the files' bytes, or of the values in memory; empty where nothing can be read."""
    pixels: list[bytes] | None
    """Digests of the values; None for image files, which have not been decoded in full."""
    uniform: list[bool]
    """Whether an image has one colour throughout; of image files, whether it may have."""
    faults: dict[int, str]
    """Why an example cannot be read, by position."""


def read(part: Examples) -> Seen:
    """Reads every example of a part once, image files at a reduced scale and with a thread per core."""
    if isinstance(part.inputs, ImageFiles):
        return _read_files(part.inputs)
    return _read_memory(part)


def full_digests(files: Sequence[ImageFiles]) -> list[tuple[bytes, bool] | str]:
    """Decodes files in full: the digest of the pixels of each, and whether they have one colour; a text says why not.

    Args:
        files: one each.
    """

    def one(file: ImageFiles) -> tuple[bytes, bool] | str:
        ((path, box),) = file.items
        try:
            pixels, size = decode(path, None, None, file.limit_mb, box, file.exif)
        except InputError as error:
            return str(error)
        return digest(pixels.contiguous().numpy().tobytes(), repr(size)), bool((pixels == pixels[:1, :1]).all())

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(_tracked(pool.map(one, files), "decoding likely copies", len(files)))


def digest(content: bytes, more: str = "") -> bytes:
    """A digest of some bytes, and of what else tells two of them apart."""
    found = hashlib.blake2b(content, digest_size=16)
    found.update(more.encode())
    return found.digest()


def _read_files(files: ImageFiles) -> Seen:
    def chunk(start: int) -> Seen:
        items = files.items[start : start + _CHUNK]
        thumbnails = torch.zeros(len(items), THUMBNAIL, THUMBNAIL, 3, dtype=torch.uint8)
        stored, faults = [], {}
        for place, (path, box) in enumerate(items):
            try:
                thumbnails[place], _ = decode(path, None, Square(THUMBNAIL), files.limit_mb, box, files.exif)
                with open(path, "rb") as file:
                    stored.append(digest(file.read(), repr(box) if box else ""))
            except (InputError, OSError) as error:
                stored.append(b"")
                faults[start + place] = str(error)
        signatures = image_signatures(thumbnails.permute(0, 3, 1, 2))
        return Seen(signatures, stored, None, signatures.isnan().all(1).tolist(), faults)

    starts = range(0, len(files), _CHUNK)
    with single_threaded_workers(os.cpu_count() or 1) as pool:
        return _joined(_tracked(pool.map(chunk, starts), "reading", len(starts)))


def _read_memory(part: Examples) -> Seen:
    def chunk(start: int) -> Seen:
        rows = part.fetch(torch.arange(start, min(start + _ROWS, len(part))))
        if isinstance(rows, Pairs):
            # A pair is one example: its two vectors, one after the other.
            rows = torch.cat(rows, 1)
        if not isinstance(rows, Tensor):
            raise InputError(f"an audit needs image files, images or vectors, not {type(rows).__name__}")
        if rows.is_floating_point():
            rows = rows + 0.0  # the two zeros are the same value
        digests = [digest(row.numpy().tobytes()) for row in rows]
        if rows.dim() == 4:
            uniform = (rows == rows[..., :1, :1]).flatten(1).all(1).tolist()
            return Seen(image_signatures(rows), digests, digests, uniform, {})
        vectors = rows.flatten(1).float()
        bad = (~vectors.isfinite().all(1)).nonzero().squeeze(1).tolist()
        faults = {start + place: "it holds NaN or Inf" for place in bad}
        return Seen(vectors, digests, digests, [False] * len(rows), faults)

    return _joined(map(chunk, range(0, len(part), _ROWS)))


def _joined(chunks: Iterable[Seen]) -> Seen:
    signatures, stored, pixels, uniform, faults = zip(*chunks, strict=True)
    return Seen(
        torch.cat(signatures),
        [one for some in stored for one in some],
        None if pixels[0] is None else [one for some in pixels for one in some],
        [one for some in uniform for one in some],
        {place: line for some in faults for place, line in some.items()},
    )


def _tracked(results: Iterable[Result], what: str, total: int) -> Iterable[Result]:
    return track(results, what, total, disable=not is_interactive(), transient=True)
