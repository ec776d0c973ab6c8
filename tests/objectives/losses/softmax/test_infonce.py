"""InfoNCE with labels against a loop over positive pairs."""

import torch
from combinations import every
from loop_oracles import CASES, DTYPES, balanced, case, hold, hold_form, hold_library, hold_selected_pairs, mean_of
from oracles import gradient
from pytorch_metric_learning import losses

from metriscope.objectives.losses.softmax.infonce import InfoNCELoss
from metriscope.objectives.selection import TripletBand

TEMPERATURE = 0.2


@mean_of
def oracle(s, positives, negatives):
    return [
        torch.stack([s[j] / TEMPERATURE for j in [p, *negatives]]).logsumexp(0) - s[p] / TEMPERATURE for p in positives
    ]


@every(name=CASES, dtype=DTYPES)
def test_against_the_loop(name, dtype):
    hold(InfoNCELoss(TEMPERATURE), oracle, name, dtype)


def test_selected_pairs():
    hold_selected_pairs(InfoNCELoss(TEMPERATURE), oracle)


def test_form():
    hold_form(InfoNCELoss())


def test_equals_the_library():
    z, labels = balanced(4, 3)
    hold_library(InfoNCELoss(), losses.NTXentLoss(), z, labels)


def test_small_temperatures_stay_finite():
    z, comparison = case("few classes", torch.float32, "cosine")
    value = InfoNCELoss(temperature=1e-3)(comparison, TripletBand()).value
    assert value.isfinite()
    assert gradient(value, z).isfinite().all()
