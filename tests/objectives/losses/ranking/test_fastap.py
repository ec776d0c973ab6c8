"""FastAP against a loop over anchors and bins."""

import pytest
import torch
from combinations import every
from loop_oracles import CASES, DTYPES, balanced, hold, hold_form, hold_library, mean_of
from oracles import compare
from pytorch_metric_learning import losses

from metriscope.objectives.losses.ranking.fastap import FastAPLoss
from metriscope.objectives.selection import TripletBand


def oracle(bins):
    @mean_of
    def per_anchor(s, positives, negatives):
        width = 4 / bins

        def counts(columns):
            return [
                sum((1 - ((2 - 2 * s[j]) - node * width).abs() / width).clamp_min(0) for j in columns)
                for node in range(bins + 1)
            ]

        own, every = counts(positives), counts(positives + negatives)
        precision = 0
        for node in range(bins + 1):
            if sum(every[: node + 1]) > 0:
                precision = precision + own[node] * sum(own[: node + 1]) / sum(every[: node + 1])
        return [1 - precision / len(positives)]

    return per_anchor


@pytest.mark.parametrize("bins", [1, 10])
@every(name=CASES, dtype=DTYPES)
def test_against_the_loop(name, dtype, bins):
    hold(FastAPLoss(bins), oracle(bins), name, dtype)


def test_form():
    hold_form(FastAPLoss())


def test_equals_the_library():
    z, labels = balanced(4, 3)
    hold_library(FastAPLoss(), losses.FastAPLoss(), z, labels)


def test_duplicates_and_opposites_fall_into_the_outer_bins():
    z = torch.tensor([[1.0, 0], [1, 0], [-1, 0], [-1, 0]], requires_grad=True)
    output = FastAPLoss()(compare(z, [0, 0, 1, 1], "cosine"), TripletBand())
    assert abs(float(output.value)) < 1e-6
    output.value.backward()
    assert z.grad.isfinite().all()
