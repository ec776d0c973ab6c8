"""Inputs that are converted when they are needed."""

import torch

from metriscope.data.inputs.augment import Augmentation, Planned
from metriscope.data.inputs.images import Squashed
from metriscope.data.inputs.late import LateInputs, divides


def test_chunks_of_planned_images_are_augmented_as_the_whole():
    augmentation = Augmentation("pad", pad=2, flip=True, mean=[0.5], std=[0.2])
    images = torch.randint(256, (7, 3, 6, 6), dtype=torch.uint8)
    planned = augmentation.plan(images, torch.rand(7, augmentation.width))
    assert isinstance(planned, Planned)
    assert divides(planned, 7)
    late = LateInputs(planned, augmentation)
    assert len(late) == 7
    whole = augmentation(planned)
    assert torch.equal(late.whole(), whole)
    assert torch.equal(late.first(2), whole[:2])
    parts = [late.read([tensor[rows] for tensor in late.tensors]) for rows in (slice(0, 4), slice(4, 7))]
    assert torch.equal(torch.cat(parts), whole)


def test_only_tensors_with_a_row_for_each_example_can_be_divided():
    rows = torch.zeros(4, 2)
    assert divides(rows, 4)
    assert divides(Squashed(rows, rows), 4)
    assert not divides(rows, 5)
    assert not divides((rows, rows), 4)
    assert not divides(Squashed(rows, None), 4)
    assert not divides([rows], 4)
