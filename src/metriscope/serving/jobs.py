"""Embedding files into a file: a job that goes on where it was stopped, and is not done twice."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from metriscope.errors import InputError
from metriscope.serving.embedded import Embedded
from metriscope.serving.embedder import Embedder, Precision, Unreadable
from metriscope.serving.images import Listed
from metriscope.serving.outputs import Format
from metriscope.serving.parts import Part, Parts, gaps, header

SECONDS = 10.0
"""Work that a killed job loses at most, beside one batch."""

Progress = Callable[[int, int], None]
_Batch = tuple[list[int], torch.Tensor, list[str]]


class Done(NamedTuple):
    """What a job came to.

    Attributes:
        images: how many were embedded.
        skipped: those that could not be read, with the reason.
        before: whether the output was there before.
    """

    images: int
    skipped: list[str]
    before: bool = False


def check_output(output: Path, overwrite: bool = False) -> None:
    """Refuse what cannot become an output, before any work is done.

    Raises:
        InputError: its folder is not there, or something other than a file is in its place.
    """
    if not output.parent.is_dir():
        raise InputError(f"{output}: there is no folder {output.parent}: make it first")
    if output.is_symlink() or (output.exists() and not output.is_file()):
        raise InputError(f"{output} is {'a link' if output.is_symlink() else 'no file'}: choose another name")


def embed_to_file(
    model: Embedder,
    given: Listed,
    output: Path,
    form: Format,
    *,
    batch_size: int = 64,
    precision: Precision = "fp32",
    unreadable: Unreadable = "stop",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Done:
    """Embed files and write the embeddings.

    What was embedded is kept in parts beside the output, every :data:`SECONDS` and when the job is stopped. The same
    call goes on from there; its result is that of a job that was never stopped, bit for bit at the same batch size.

    Args:
        model: embeds.
        given: files.
        output: replaced atomically at the end.
        form: how it is written.
        batch_size, precision, unreadable: as of :meth:`Embedder.embed`.
        overwrite: replace an output of another model or other files.
        progress: called with how many images are done, and of how many.

    Raises:
        InputError: an image cannot be read, the output is that of something else, or another process makes it.
        KeyboardInterrupt: stopped by a signal; its text says how far the job is.
        OSError: the output or a part cannot be written.
    """
    known = header(model.digest, precision, given)
    before = None if overwrite else _before(output, form, known)
    if before is not None:
        if unreadable == "stop" and before.skipped:
            raise InputError(f"{before.skipped[0]}; {output} was made without it")
        return before
    with Parts(output, known, model.size) as parts:
        embedded = _embedded(model, given, parts, batch_size, precision, unreadable, progress)
        form.write(embedded, output, _facts(model, known, embedded))
        parts.delete()
    return Done(len(embedded), list(embedded.skipped))


def _embedded(
    model: Embedder,
    given: Listed,
    parts: Parts,
    batch_size: int,
    precision: Precision,
    unreadable: Unreadable,
    progress: Progress | None,
) -> Embedded:
    """The embeddings of the parts that are there, and of what they lack."""
    total = len(given.items)
    found = parts.found(total)
    if unreadable == "stop" and (errors := [error for part in found for error in part.errors]):
        raise InputError(errors[0])
    done = sum(part.stop - part.start for part in found)
    for start, stop in gaps(found, total):
        waiting: list[_Batch] = []
        sealed = start
        since = time.monotonic()
        try:
            for batch in model.batches(given.items[start:stop], batch_size, precision, unreadable):
                waiting.append(batch)
                done += len(batch[0]) + len(batch[2])
                if progress is not None:
                    progress(done, total)
                if time.monotonic() - since > SECONDS:
                    found.append(_seal(parts, waiting, sealed, start))
                    sealed, waiting, since = found[-1].stop, [], time.monotonic()
        except KeyboardInterrupt as stopped:
            if waiting:
                _seal(parts, waiting, sealed, start)
            raise KeyboardInterrupt(
                f"{stopped or 'interrupted'}: {done:,} of {total:,} images are embedded, "
                f"and the same command goes on from there ({parts.folder})"
            ) from None
        except InputError:
            if waiting:
                _seal(parts, waiting, sealed, start)
            raise
        if waiting:
            found.append(_seal(parts, waiting, sealed, start))
    return _joined(model, given, sorted(found, key=lambda part: part.start))


def _seal(parts: Parts, batches: list[_Batch], start: int, first: int) -> Part:
    """One part of batches whose places count from the item at ``first``."""
    places = torch.tensor([first + place for kept, _, _ in batches for place in kept], dtype=torch.int64)
    errors = [error for _, _, errors in batches for error in errors]
    part = Part(start, start + len(places) + len(errors), places, torch.cat([z for _, z, _ in batches]), errors)
    parts.save(part)
    return part


def _joined(model: Embedder, given: Listed, parts: list[Part]) -> Embedded:
    kept = [place for part in parts for place in part.kept.tolist()]
    skipped = [error for part in parts for error in part.errors]
    if not kept:
        raise InputError(f"none of {len(skipped)} images can be read, such as: {skipped[0]}")
    return model.embedded(torch.cat([part.embeddings for part in parts]), given, kept, skipped)


def _facts(model: Embedder, known: Mapping[str, Any], embedded: Embedded) -> dict[str, Any]:
    about = {"images": len(embedded), "skipped": list(embedded.skipped), "root": embedded.root}
    return {**known, "source": dict(model.described.source), **about}


def _before(output: Path, form: Format, known: Mapping[str, Any]) -> Done | None:
    """What an output that is there says of itself, if it is that of the same job; None where there is none."""
    if not output.exists():
        return None
    try:
        facts = form.facts(output)
        same = all(facts.get(key) == value for key, value in known.items())
        found = Done(int(facts["images"]), [str(line) for line in facts["skipped"]], before=True) if same else None
    # A file of somebody else makes readers fail in many ways.
    except Exception:
        found = None
    if found is None:
        raise InputError(
            f"{output} is there, and damaged or not of this model, precision and these files: "
            "choose another name, or replace it with --overwrite"
        )
    return found
