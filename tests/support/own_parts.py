"""Parts as somebody else would write them."""

import math
from typing import Annotated

import torch
from pydantic import Field
from torch.optim.lr_scheduler import LambdaLR

from metriscope.data.inputs.augment import Augmentation
from metriscope.data.samplers import BatchSampler


class Drawn(BatchSampler):
    """Batches drawn with replacement."""

    def __init__(self, labels, batch_size: Annotated[int, Field(ge=1)] = 8, seed=0, rank=0, world_size=1):
        super().__init__(labels, seed, rank, world_size)
        self.batch_size = batch_size

    @classmethod
    def adapted(cls, arguments, labels):
        return {**arguments, "batch_size": min(arguments["batch_size"], len(labels))}

    def total(self):
        return math.ceil(len(self.labels) / self.batch_size)

    def batches(self, source):
        return torch.randint(len(self.labels), (self.total(), self.batch_size), generator=source)


class Lists(BatchSampler):
    """Batches in order, as lists."""

    def total(self):
        return 2

    def batches(self, source):
        half = len(self.labels) // 2
        return [list(range(half)), list(range(half, len(self.labels)))]


def falling(optimizer, steps_per_epoch, rate: Annotated[float, Field(gt=0, lt=1)] = 0.5):
    """Falls after every step, by ``rate`` in an epoch."""
    return LambdaLR(optimizer, lambda step: rate ** (step / steps_per_epoch))


def nothing(optimizer):
    return 3


class Jitter(Augmentation):
    """Adds noise to vectors."""

    def __init__(self, radius: Annotated[float, Field(ge=0)] = 0.1, views: int | None = None, mean=None, std=None):
        super().__init__(mean=mean, std=std)
        self.radius, self.views, self.width = radius, views, 8

    @classmethod
    def check(cls, arguments):
        """It always draws."""

    def plan(self, inputs, numbers):
        return inputs + self.radius * (2 * numbers - 1)
