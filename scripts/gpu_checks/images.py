"""A data set of random images, in memory."""

import torch

from metriscope.data.examples import Examples, Source


def load(count: int = 50_000, tested: int = 2_000, size: int = 32, classes: int = 100) -> Source:
    """Images uint8 (N, 3, size, size) of classes that differ in their mean colours.

    Args:
        count, tested: images to train and to test.
        size: side, in pixels.
        classes: in both halves.
    """

    def draw(number: int, seed: int) -> Examples:
        source = torch.Generator().manual_seed(seed)
        labels = torch.arange(number) % classes
        images = torch.randint(0, 200, (number, 3, size, size), generator=source, dtype=torch.uint8)
        colours = torch.randint(0, 56, (classes, 3, 1, 1), generator=torch.Generator().manual_seed(9))
        return Examples(images + colours.to(torch.uint8)[labels], labels, tuple(f"class {c}" for c in range(classes)))

    return Source(train=draw(count, 0), test=draw(tested, 1))
