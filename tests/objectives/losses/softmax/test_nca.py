"""Neighbourhood components analysis against a loop over anchors."""

import pytest
import torch
from combinations import every
from loop_oracles import CASES, DTYPES, balanced, hold, hold_form, hold_library, hold_selected_pairs, mean_of
from pytorch_metric_learning import losses

from metriscope.objectives.losses.softmax.nca import NCALoss

SCALE = 1.5
METRIC = {"metric": "squared_euclidean", "matrix": "squared_euclidean"}


def oracle(objective):
    @mean_of
    def per_anchor(d, positives, negatives):
        chances = torch.softmax(torch.stack([-SCALE * d[j] for j in positives + negatives]), 0)
        chance = chances[: len(positives)].sum()
        return [-chance.log() if objective == "log" else 1 - chance]

    return per_anchor


@pytest.mark.parametrize("objective", ["log", "expected"])
@every(name=CASES, dtype=DTYPES)
def test_against_the_loop(name, dtype, objective):
    hold(NCALoss(SCALE, objective), oracle(objective), name, dtype, **METRIC)


@pytest.mark.parametrize("objective", ["log", "expected"])
def test_selected_pairs_and_form(objective):
    hold_selected_pairs(NCALoss(SCALE, objective), oracle(objective), **METRIC)
    hold_form(NCALoss(SCALE, objective), "squared_euclidean")


def test_equals_the_library():
    z, labels = balanced(4, 3)
    hold_library(NCALoss(scale=2.0), losses.NCALoss(softmax_scale=2), z, labels, "squared_euclidean")
