"""Supervised contrastive loss against a loop over anchors."""

import pytest
import torch
from combinations import every
from loop_oracles import CASES, DTYPES, balanced, hold, hold_form, hold_library, hold_selected_pairs, mean_of
from pytorch_metric_learning import losses

from metriscope.objectives.losses.softmax.supcon import SupConLoss

TEMPERATURE = 0.2


@mean_of
def oracle(s, positives, negatives):
    everything = torch.stack([s[a] / TEMPERATURE for a in positives + negatives]).logsumexp(0)
    return [-sum(s[p] / TEMPERATURE - everything for p in positives) / len(positives)]


@every(name=CASES, dtype=DTYPES)
def test_against_the_loop(name, dtype):
    hold(SupConLoss(TEMPERATURE), oracle, name, dtype)


def test_selected_pairs():
    hold_selected_pairs(SupConLoss(TEMPERATURE), oracle)


def test_form():
    hold_form(SupConLoss())


def test_equals_the_library():
    z, labels = balanced(4, 3)
    hold_library(SupConLoss(), losses.SupConLoss(), z, labels)


def test_small_temperatures_stay_finite():
    hold_form(SupConLoss(temperature=1e-3))


@pytest.mark.parametrize("metric", ["euclidean", "squared_euclidean"])
def test_every_distance_of_the_sphere_gives_the_same_loss(metric):
    z, labels = balanced(4, 3)
    hold_library(SupConLoss(), losses.SupConLoss(), z, labels, metric)
