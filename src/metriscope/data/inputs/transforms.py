"""Augmentation by a list of torchvision's transforms, one image at a time."""

import inspect
from collections.abc import Mapping, Sequence
from enum import Enum
from functools import cache
from typing import Annotated, Any, ClassVar, NamedTuple, get_args

import torch
from pydantic import Field
from torch import Tensor, nn

from metriscope.data.inputs.augment import Augmentation, Planned, Size
from metriscope.data.inputs.images import Squashed
from metriscope.errors import InputError, RunError, nearest
from metriscope.parts import NOT_GIVEN, ArgumentError, arguments_of, judge

_KEY = "transforms"
_BITS = 24  # of a float32 number from [0, 1)
_NARROW = 8  # the largest ratio of sides that squashed images are brought back to
# Transforms that no list can hold, with the reason.
_REFUSED = {
    **dict.fromkeys(
        ("ToImage", "ToTensor", "ToPureTensor", "ToDtype", "ConvertImageDtype", "ToPILImage", "PILToTensor"),
        "images are uint8 tensors here, and converted after the list: leave it out",
    ),
    "Normalize": "images are normalised after the list, by dataset.mean and dataset.std: leave it out",
    **dict.fromkeys(("CutMix", "MixUp"), "it mixes the labels of a batch, and a list transforms single images"),
    **dict.fromkeys(("Lambda", "LinearTransformation"), "a config holds neither code nor tensors"),
}

Entries = Annotated[
    Sequence[Mapping[str, Any]],
    Field(min_length=1, description="a list of mappings, each with the name of a transform and its arguments"),
]


class Seeded(NamedTuple):
    """Images with a seed for each, from which all random numbers of its transforms come.

    Attributes:
        images: uint8 (B, C, H, W).
        sizes: height and width of each image before it was squashed.
        seeds: one per image; no tensor, so that no device waits for them.
    """

    images: Tensor
    sizes: list[list[int]]
    seeds: list[int]


class Transforms(Augmentation):
    """Transforms of ``torchvision.transforms.v2`` in the order of a list, then normalisation per channel.

    The random numbers of an image are a function of the numbers that :meth:`plan` gets for it; the global generators
    stay as they are. On a GPU, the few transforms that draw whole images of numbers, such as ``GaussianNoise``, draw
    other ones than on the CPU. Images go through the list one by one: on one core, a crop to 224 pixels and mirroring
    take 6 ms per image, twice as long as the batches of :class:`Augmentation`, and ``ColorJitter`` 15 ms more.

    Args:
        transforms: mappings with the name of a class and its arguments, such as ``{"name": "ColorJitter",
            "brightness": 0.4}``; ``RandomApply``, ``RandomChoice`` and ``RandomOrder`` take such a list as well.
        size: side of the images that the network sees, which the list has to lead to in training; evaluation scales
            the shorter side to ``resize`` and crops the centre. None for images that keep their size throughout.
        resize: None for 8/7 of ``size``.
        stored_size: the shorter side of images before the list; None for ``resize``.
        views, mean, std: as of :class:`Augmentation`.

    Raises:
        InputError: no such transform, arguments that it refuses, or a list that leads to another size.
    """

    plain_arguments: ClassVar = frozenset({_KEY})

    def __init__(
        self,
        transforms: Entries,
        *,
        size: Size | None = 224,
        resize: Size | None = None,
        stored_size: Size | None = None,
        views: Size | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        super().__init__(size=size or 1, resize=resize, stored_size=stored_size, views=views, mean=mean, std=std)
        if size is not None:  # read and evaluated as for random resized crops
            self.crop = "random_resized"
        self.keeps_size = size is None
        self.transforms = [dict(entry) for entry in transforms]
        self.width = 2
        self._steps = nn.ModuleList(_built(transforms))

    @classmethod
    def check(cls, arguments: Mapping[str, Any]) -> None:
        if arguments.get("size") is None:
            for key in ("resize", "stored_size"):
                if arguments.get(key) is not None:
                    raise ArgumentError(key, arguments[key], "it has to be null, as size=null keeps the size of images")
        super().check({**arguments, "crop": "random_resized"})
        _built(arguments[_KEY])

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Raises InputError if the list does not lead from examples of this shape to images of the network's size."""
        if len(shape) != 3:
            raise InputError("augmentation.transforms are for images, and the data are vectors: set augmentation=none")
        super().check_shape(shape)
        side = None if self.keeps_size else self.stored_size
        image = torch.zeros(shape if side is None else (shape[0], side, side), dtype=torch.uint8)
        try:
            self._augment_all(Seeded(image[None], [list(image.shape[1:])], [0]))
        except RunError as error:
            raise InputError(str(error)) from error

    def plan(self, inputs: Tensor | Squashed, numbers: Tensor) -> Any:
        images, sizes = inputs if isinstance(inputs, Squashed) else (inputs, None)
        if images.is_floating_point():
            kind = str(images.dtype).removeprefix("torch.")
            raise RunError(f"augmentation.{_KEY} are for uint8 images, and the data are {kind}: set augmentation=none")
        if sizes is None:
            sizes = torch.tensor(images.shape[2:]).repeat(len(images), 1)
        high, low = (numbers.double() * 2**_BITS).long().unbind(1)
        return Seeded(images, sizes.tolist(), (high * 2**_BITS + low).tolist())

    def forward(self, inputs: Tensor | Planned | Seeded, *, stored: bool = False) -> Tensor:
        if isinstance(inputs, Seeded):
            return self._normalise(self._augment_all(inputs))
        return super().forward(inputs, stored=stored)

    def _augment_all(self, seeded: Seeded) -> Tensor:
        """Uint8 (B, C, S, S) of the images after the list."""
        home = seeded.images.device
        # Other devices have generators that cannot be seeded and put back one by one.
        images = seeded.images if home.type in ("cpu", "cuda") else seeded.images.cpu()
        if not len(images):
            return images.new_empty(0, *self.output_shape(tuple(images.shape[1:])))
        on_gpu = images.device.type == "cuda"
        generators = [torch.default_generator]
        with torch.random.fork_rng(devices=[images.device] if on_gpu else []):
            if on_gpu:
                generators.append(torch.cuda.default_generators[images.device.index])
            done = []
            for image, size, seed in zip(images, seeded.sizes, seeded.seeds, strict=True):
                for source in generators:
                    source.manual_seed(seed)
                done.append(self._after_the_list(self._whole(image, size)))
        return torch.stack(done).to(home)

    def _whole(self, image: Tensor, size: Sequence[int]) -> Tensor:
        """The image in its own aspect, with a shorter side of ``stored_size`` unless images keep their size."""
        if self.keeps_size:
            return image
        from torchvision.transforms.v2 import functional  # seconds to import

        scale = self.stored_size / min(size)
        height, width = (min(round(side * scale), _NARROW * self.stored_size) for side in size)
        return image if image.shape[1:] == (height, width) else functional.resize(image, [height, width])

    def _after_the_list(self, image: Tensor) -> Tensor:
        found: Any = image
        for place, step in enumerate(self._steps):
            try:
                found = step(found)
            except torch.OutOfMemoryError:
                raise
            except Exception as error:
                where = f"augmentation.{_KEY}[{place}]: {type(step).__name__}"
                line = " ".join(str(error).split())[:200] or type(error).__name__
                raise RunError(f"{where} fails on an image of {_said(image)}: {line}") from error
        wanted = self.output_shape(tuple(image.shape))
        if not isinstance(found, Tensor) or found.dtype != torch.uint8 or tuple(found.shape) != wanted:
            remedy = "set augmentation.size to the side that the list ends with, or end it with"
            raise RunError(
                f"augmentation.{_KEY} turn an image of {_said(image)} into {_said(found)}, and the network takes "
                f"{'x'.join(map(str, wanted))} uint8: {remedy} {{name: CenterCrop, size: {wanted[-1]}}}"
            )
        return found


def _said(image: Any) -> str:
    if not isinstance(image, Tensor):
        return f"a {type(image).__name__}"
    return f"{'x'.join(map(str, image.shape))} {str(image.dtype).removeprefix('torch.')}"


def _built(entries: Sequence[Any], where: str = _KEY) -> list[nn.Module]:
    """The transforms of a list; what one refuses is named with its place, also in lists within the list."""
    steps = []
    for place, entry in enumerate(entries):
        try:
            steps.append(_one(entry))
        except ArgumentError as error:
            raise ArgumentError(f"{where}[{place}].{error.key}", error.value, error.rule) from error
    return steps


def _one(entry: Any) -> nn.Module:
    """The transform of one entry; nothing but the classes of torchvision's package can be named."""
    if not isinstance(entry, Mapping) or not isinstance(entry.get("name"), str):
        raise ArgumentError("name", NOT_GIVEN, "an entry is a mapping with the name of a transform, and its arguments")
    name = entry["name"]
    if name in _REFUSED:
        raise ArgumentError("name", name, _REFUSED[name])
    if name not in (known := _classes()):
        raise ArgumentError("name", name, f"torchvision.transforms.v2 has no such transform{nearest(name, known)}")
    part, arguments = known[name], {}
    for key, value in entry.items():
        if key == _KEY and isinstance(value, list):
            arguments[key] = _built(value)
        elif key != "name":
            arguments[str(key)] = _as_member(str(key), value, arguments_of(part).get(str(key)))
    judge(part, arguments)
    try:
        step: nn.Module = part(**arguments)
    except Exception as error:
        line = " ".join(str(error).split())[:200] or type(error).__name__
        raise ArgumentError("name", name, f"it refuses its arguments: {line}") from error
    return step


@cache
def _classes() -> dict[str, Any]:
    """The transforms that a list may name."""
    from torchvision.transforms import v2  # seconds to import

    found = inspect.getmembers(v2, inspect.isclass)
    return {
        name: part
        for name, part in found
        if issubclass(part, v2.Transform) and part is not v2.Transform and name not in _REFUSED
    }


def _as_member(key: str, value: Any, hint: Any) -> Any:
    """The member of an enumeration that a text stands for, where the argument takes one."""
    kinds = [kind for kind in (hint, *get_args(hint)) if inspect.isclass(kind) and issubclass(kind, Enum)]
    if not kinds or not isinstance(value, str):
        return value
    members = {str(member.value): member for member in kinds[0]}
    if value not in members:
        choices = ", ".join(members)
        raise ArgumentError(key, value, f"it has to be one of {choices}{nearest(value, members).rstrip('.')}")
    return members[value]
