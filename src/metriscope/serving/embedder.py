"""The embedder: a trained network with the preparation of its images, without the framework that trained it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from functools import cached_property, partial
from os import cpu_count
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from metriscope.build.network import build_network
from metriscope.errors import InputError
from metriscope.models.network import Network
from metriscope.models.paired import OneSide
from metriscope.serving.description import Description
from metriscope.serving.embedded import Embedded, Neighbours, neighbours
from metriscope.serving.galleries import load_saved, save
from metriscope.serving.images import Images, Listed, listed
from metriscope.serving.preparation import Item, Preparation

Precision = Literal["fp32", "bf16"]
Unreadable = Literal["stop", "skip"]


class Embedder:
    """Turns images into embeddings, and finds the nearest ones.

    :func:`metriscope.load` makes one of a run or of an exported model.

    >>> from metriscope import compose_config, load, train
    >>> model = load(train(compose_config(["dataset=digits", "trainer.max_epochs=1", "logger=none"])).folder)
    >>> gallery = model.embed(torch.zeros(5, 1, 8, 8, dtype=torch.uint8))  # or a folder: model.embed("photos/")
    >>> len(gallery), gallery.embeddings.shape[1] == model.size
    (5, True)

    Args:
        described: what the model is.
        state: tensors of the network by name.

    Raises:
        InputError: the description and the tensors do not fit each other.
    """

    def __init__(self, described: Description, state: Mapping[str, Tensor]) -> None:
        self.described = described
        self.preparation = Preparation(described)
        self.network = _network(described, self.preparation.input_shape, state)
        self.device = torch.device("cpu")

    @property
    def size(self) -> int:
        """D, the numbers in one embedding."""
        return self.network.size

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all that determines an embedding: description, but for the source of the model, and weights."""
        return self.described.digest(self.network.state_dict())

    def to(self, device: str | torch.device) -> "Embedder":
        """Move the network to a device; returns the embedder itself."""
        self.device = torch.device(device)
        self.network.to(self.device)
        return self

    def embed(
        self,
        images: Images,
        batch_size: int = 64,
        device: str | torch.device | None = None,
        precision: Precision = "fp32",
        *,
        side: str | None = None,
        unreadable: Unreadable = "stop",
        progress: Callable[[int, int], None] | None = None,
    ) -> Embedded:
        """Embed images.

        Args:
            images: the path of an image or of a folder, which is searched at every depth; a PIL image; an array
                uint8 (H, W, C) or a tensor uint8 (C, H, W), or a batch of them; or a list of these. For a model of
                vectors, an array (N, F).
            side: for a model of pairs, the name of the modality that these vectors are of. Those of one side are
                searched among those of the other: ``model.search(model.embed(a, side="audio"), gallery)``.
            batch_size: how many at a time.
            device: where to compute; None for where the model is.
            precision: ``bf16`` for autocast.
            unreadable: ``stop`` at an image file that cannot be read, or ``skip`` it: see :attr:`Embedded.skipped`.
            progress: called with how many images are done, and of how many.

        Returns:
            the embeddings, in the order of the images, of those that could be read.

        Raises:
            InputError: there is no image, one cannot be read or does not fit the model, or none of them can be read.
        """
        if device is not None:
            self.to(device)
        place = self.preparation.side(side)
        given = listed(images, len(self.preparation.shape) if place is None else 1)
        rows: list[Tensor] = []
        kept: list[int] = []
        skipped: list[str] = []
        for places, embeddings, errors in self.batches(given.items, batch_size, precision, unreadable, side):
            rows.append(embeddings)
            kept += places
            skipped += errors
            if progress is not None:
                progress(len(kept) + len(skipped), len(given.items))
        if not given.items:
            raise InputError("there is nothing to embed: give at least one image or vector")
        if not kept:
            raise InputError(f"none of {len(skipped)} images can be read, such as: {skipped[0]}")
        return self.embedded(torch.cat(rows), given, kept, skipped)

    def embedded(self, embeddings: Tensor, given: Listed, kept: Sequence[int], skipped: Sequence[str]) -> Embedded:
        """Embeddings (N, D) of the items at the places ``kept`` (N,), with what is known of these."""
        paths, labels = ([known[i] for i in kept] if known else None for known in (given.paths, given.labels))
        return Embedded(embeddings, self.digest, paths, labels, tuple(skipped), given.root)

    def batches(
        self,
        items: Sequence[Item],
        batch_size: int,
        precision: Precision = "fp32",
        unreadable: Unreadable = "stop",
        side: str | None = None,
    ) -> Iterator[tuple[list[int], Tensor, list[str]]]:
        """Embeddings batch by batch; the next batch is read while the network computes.

        Yields:
            the places of the items of a batch, their embeddings (b, D) float32 on the CPU, and the reason for each
            that was skipped.
        """
        if batch_size < 1:
            raise InputError(f"batch_size={batch_size}: it has to be at least 1")
        if precision not in ("fp32", "bf16"):
            raise InputError(f"precision={precision}: choose fp32 or bf16")
        if unreadable not in ("stop", "skip"):
            raise InputError(f"unreadable={unreadable}: choose stop or skip")

        number = self.preparation.side(side)
        pixels_of = self.preparation.pixels if number is None else partial(self.preparation.pixels, side=number)

        def read(place: int) -> Tensor | str:
            try:
                return pixels_of(items[place])
            except InputError as error:
                if unreadable == "stop":
                    raise
                return str(error)

        starts = range(0, len(items), batch_size)
        with ThreadPoolExecutor(cpu_count()) as pool:

            def submit(start: int) -> list[Future[Tensor | str]]:
                return [pool.submit(read, place) for place in range(start, min(start + batch_size, len(items)))]

            try:
                coming = submit(0)
                for start in starts:
                    waiting, coming = coming, submit(start + batch_size)
                    found = [one.result() for one in waiting]
                    places = [start + i for i, one in enumerate(found) if isinstance(one, Tensor)]
                    pixels = [one for one in found if isinstance(one, Tensor)]
                    errors = [one for one in found if isinstance(one, str)]
                    yield places, self._compute(pixels, precision, number), errors
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def search(self, queries: Images | Embedded, gallery: Images | Embedded, k: int = 10, **options: Any) -> Neighbours:
        """The ``k`` nearest images of a gallery for each query: an exact search by Euclidean distance.

        Args:
            queries: images as of :meth:`embed`, or their embeddings.
            gallery: the same; where it is the same object or path as the queries, an image is no neighbour of itself.
            k: how many; all of a smaller gallery.
            options: of :meth:`embed`.

        Raises:
            InputError: as of :meth:`embed`; or the embeddings are those of another model.
        """
        same = queries is gallery or _is_one_path(queries, gallery)
        known = gallery if isinstance(gallery, Embedded) else self.embed(gallery, **options)
        if isinstance(queries, Embedded):
            return neighbours(queries, known, k)
        return neighbours(known if same else self.embed(queries, **options), known, k)

    def save_gallery(self, gallery: Embedded, path: str | Path) -> None:
        """Save the embeddings of a gallery, to be searched later without its images.

        Raises:
            InputError: they are of another model.
            OSError: the file cannot be written; what was there before is then unchanged.
        """
        self._check_own(gallery, "the gallery")
        save(gallery, Path(path))

    def load_gallery(self, path: str | Path) -> Embedded:
        """The gallery that :meth:`save_gallery` or ``metriscope index`` has saved, ready to be searched.

        Raises:
            InputError: the file is none, it is damaged, or of another model.
        """
        gallery = load_saved(Path(path))
        self._check_own(gallery, str(path))
        return gallery

    def _check_own(self, gallery: Embedded, name: str) -> None:
        if gallery.model != self.digest:
            raise InputError(
                f"{name} was embedded by another model ({gallery.model[:8]}, and this one is {self.digest[:8]}): "
                "embed its images again with this one"
            )

    @torch.inference_mode()
    def _compute(self, pixels: list[Tensor], precision: Precision, side: int | None = None) -> Tensor:
        if not pixels:
            return torch.empty(0, self.size)
        autocast = torch.autocast(self.device.type, torch.bfloat16) if precision == "bf16" else nullcontext()
        with autocast:
            inputs = self.preparation.batch(pixels, self.device)
            z: Tensor = self.network(inputs if side is None else OneSide(inputs, side)).z
        return z.float().cpu()


def _network(described: Description, shape: tuple[int, ...], state: Mapping[str, Tensor]) -> Network:
    # All tensors are replaced; a warning about the normalisation of weights would be about none.
    network = build_network(
        described.backbone, described.head, shape, normalised_with=(described.mean, described.std), seed=0
    )
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    if wanted != found:
        other = next(name for name in (*wanted, *found) if wanted.get(name) != found.get(name))
        raise InputError(
            f"the weights do not fit the network: {other} is {found.get(other, 'not there')} "
            f"where the network has {wanted.get(other, 'nothing of this name')}"
        )
    network.load_state_dict(dict(state))
    return network.eval()


def load(model: str | Path, checkpoint: Literal["best", "last"] | None = None, *, trust_code: bool = False) -> Embedder:
    """The embedder of a finished run, or of a model that was exported.

    >>> from metriscope import compose_config, load, train
    >>> model = load(train(compose_config(["dataset=digits", "trainer.max_epochs=1", "logger=none"])).folder)
    >>> model.search("query.jpg", "photos/", k=5).paths  # doctest: +SKIP

    Args:
        model: a run folder, or the folder of an exported model.
        checkpoint: of a run: ``best`` or ``last``, also of one that is not finished; None for the one that was tested.
            An exported model has none.
        trust_code: allow parts that do not ship with Metriscope, whose code is then run. A file names them.

    Raises:
        InputError: the folder holds no model, the run is not finished, or a file is damaged.
    """
    from metriscope.serving.stored import stored

    described, state = stored(Path(model), checkpoint)
    if not trust_code:
        described.check_parts()
    return Embedder(described, state)


def _is_one_path(first: Any, other: Any) -> bool:
    return all(isinstance(one, str | Path) for one in (first, other)) and Path(first).resolve() == Path(other).resolve()
