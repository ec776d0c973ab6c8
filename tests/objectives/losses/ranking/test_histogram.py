"""Histogram loss against a loop over pairs and bins."""

import pytest
import torch
from combinations import every
from loop_oracles import CASES, DTYPES, balanced, hold, hold_form, hold_library, hold_selected_pairs
from oracles import Account, compare, gradient, total
from pytorch_metric_learning import losses

from metriscope.objectives.losses.ranking.histogram import HistogramLoss
from metriscope.objectives.selection import TripletBand


def oracle(bins):
    def account(rows):
        width = 2 / bins
        positives = [s[p] for s, columns, _ in rows for p in columns]
        negatives = [s[n] for s, _, columns in rows for n in columns]
        if not positives or not negatives:
            return Account(total([]), 0, 0)

        def density(similarities):
            return [
                sum((1 - (s + 1 - node * width).abs() / width).clamp_min(0) for s in similarities) / len(similarities)
                for node in range(bins + 1)
            ]

        own, other = density(positives), density(negatives)
        value = sum(other[r] * sum(own[: r + 1]) for r in range(bins + 1))
        terms = len(positives) + len(negatives)
        return Account(value, terms, terms)

    return account


@pytest.mark.parametrize("bins", [1, 12])
@every(name=CASES, dtype=DTYPES)
def test_against_the_loop(name, dtype, bins):
    hold(HistogramLoss(bins), oracle(bins), name, dtype)


def test_selected_pairs():
    hold_selected_pairs(HistogramLoss(12), oracle(12))


def test_form():
    hold_form(HistogramLoss())


def test_equals_the_library():
    z, labels = balanced(4, 3)
    hold_library(HistogramLoss(), losses.HistogramLoss(), z, labels, tolerance=1e-5)


def test_duplicates_fall_into_the_last_bin():
    z = torch.tensor([[1.0, 0], [1, 0], [-1, 0], [-1, 0]], requires_grad=True)
    value = HistogramLoss()(compare(z, [0, 0, 1, 1], "cosine"), TripletBand()).value
    assert abs(float(value)) < 1e-6
    assert gradient(value, z).isfinite().all()


@pytest.mark.parametrize("metric", ["euclidean", "squared_euclidean"])
def test_every_distance_of_the_sphere_gives_the_same_loss(metric):
    z, labels = balanced(4, 3)
    hold_library(HistogramLoss(), losses.HistogramLoss(), z, labels, metric, tolerance=1e-5)
