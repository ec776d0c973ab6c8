"""Inputs that dataloaders read for each part of a data set: as stored, or decoded once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from metriscope.data.examples import Examples, Inputs
from metriscope.data.inputs.augment import Augmentation
from metriscope.data.inputs.boxes import Item, in_order
from metriscope.data.inputs.caches import digest_of_tensor
from metriscope.data.inputs.decoded import DecodeOnce
from metriscope.data.inputs.images import ImageFiles
from metriscope.data.inputs.paired import PairedVectors
from metriscope.data.splits import Splits
from metriscope.seeds import generator


@dataclass(frozen=True)
class Whole:
    """Inputs whose features are cached as one array, shared by all folds.

    Attributes:
        count: how many inputs there are.
        open: reads them, as a dataloader needs them; called where features are not cached, since it decodes images.
        rows: int64, positions of a part's examples among the inputs.
        facts: plain values that determine what the trunk gets.
    """

    count: int
    open: Callable[[], Tensor | Inputs]
    rows: Tensor
    facts: Mapping[str, Any]


class Serving:
    """The inputs of each part, in the form that training or evaluation needs.

    Args:
        splits: the parts.
        augmentation: determines how image files are read.
        decoding: how image files are decoded once; None decodes them batch by batch.
    """

    def __init__(self, splits: Splits, augmentation: Augmentation, decoding: DecodeOnce | None) -> None:
        self.splits = splits
        self.augmentation = augmentation
        self.decoding = decoding
        self._numbers: dict[int, Tensor] = {}

    @property
    def from_files(self) -> bool:
        """Whether images are read from files, and so in the form that the augmentation sets."""
        return isinstance(self.splits.train.inputs, ImageFiles)

    @property
    def described(self) -> dict[str, Any]:
        """What one input is, in plain values, for those who load the model."""
        inputs = self.splits.train.inputs
        sides = {"sides": list(inputs.sides)} if isinstance(inputs, PairedVectors) else {}
        return {"shape": list(self.splits.train.shape), "files": self.from_files, **sides}

    def images(self, part: str, training: bool = False) -> Tensor | Inputs:
        """Images or vectors of a part."""
        inputs = self._part(part).inputs
        if not isinstance(inputs, ImageFiles):
            return inputs
        for_training, for_evaluation = self.augmentation.stored
        files = replace(inputs, transform=for_training if training else for_evaluation)
        if self.decoding is None:
            return files
        shared = part != "test" and (training or for_training is None)
        return self.decoding.open(files, self._training_half() if shared else files.items)

    def image(self, part: str, index: int) -> Tensor:
        """One image of a part as evaluation sees it, before normalisation: uint8 (C, H, W), from its file."""
        inputs = self._part(part).inputs
        if not isinstance(inputs, ImageFiles):
            image: Tensor = self._part(part).fetch(torch.tensor([index]))[0]
        else:
            image = replace(inputs, transform=self.augmentation.stored[1]).fetch([index])[0]
        return image

    def numbers(self, view: int, kept: int = 1) -> Tensor:
        """Random numbers of one fixed view, (N, width), for the augmentation of every example of the train part.

        The same for all seeds and folds, so that the runs of a study share the features computed from them. Those of
        the last ``kept`` views are held.
        """
        if view not in self._numbers:
            while len(self._numbers) >= kept:
                self._numbers.pop(next(iter(self._numbers)))
            whole = self.whole("train", view)
            self._numbers[view] = self.numbers_of(whole, view)[whole.rows]
        return self._numbers[view]

    def numbers_of(self, whole: Whole, view: int) -> Tensor:
        """The same for every input of ``whole``."""
        return torch.rand(whole.count, self.augmentation.width, generator=generator(0, "views", view))

    def whole(self, part: str, view: int | None) -> Whole:
        """Inputs to embed for a part, in one augmented view or not augmented.

        Of image files these are all of the training half, whichever fold is held out, so that folds share features.
        """
        inputs = self._part(part).inputs
        facts: dict[str, Any] = {"augmentation": self.augmentation.facts(view is not None), "view": view}
        if isinstance(inputs, Tensor):
            rows = torch.arange(len(inputs))
            return Whole(len(inputs), lambda: inputs, rows, {**facts, "data": digest_of_tensor(inputs)})
        assert isinstance(inputs, ImageFiles)
        facts["size"] = inputs.size
        if inputs.exif:  # else absent, so that features of images as they lie stay valid
            facts["exif"] = True
        everything = inputs.holding(in_order(inputs.items if part == "test" else self._training_half()))
        files = replace(everything, transform=self.augmentation.stored[0 if view is not None else 1])
        place = {item: row for row, item in enumerate(files.items)}
        rows = torch.tensor([place[item] for item in inputs.items])
        return Whole(len(files), lambda: self._decoded(files), rows, {**facts, "data": files.digest()})

    def _decoded(self, files: ImageFiles) -> Inputs:
        return files if self.decoding is None else self.decoding.open(files, files.items)

    def _part(self, part: str) -> Examples:
        examples: Examples = getattr(self.splits, part)
        return examples

    def _training_half(self) -> tuple[Item, ...]:
        parts = [part.inputs for part in (self.splits.train, self.splits.validation) if part is not None]
        return tuple(item for inputs in parts if isinstance(inputs, ImageFiles) for item in inputs.items)
