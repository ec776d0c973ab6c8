"""The 1,797 handwritten digits of 8 x 8 pixels that come with scikit-learn."""

import torch
from sklearn.datasets import load_digits

from metriscope.data.examples import Examples, Source
from metriscope.data.splits import stratified


def load(test_share: float = 1 / 3) -> Source:
    """Images uint8 (N, 1, 8, 8), their 17 grey levels scaled to 0..255; a fixed stratified share is the
    test half."""
    pixels, labels = load_digits(return_X_y=True)
    images = (torch.from_numpy(pixels) * (255 / 16)).round().to(torch.uint8).view(-1, 1, 8, 8)
    examples = Examples.from_labels(images, torch.from_numpy(labels))
    train, test = stratified(examples.labels, test_share)
    return Source(train=examples.take(train), test=examples.take(test))
