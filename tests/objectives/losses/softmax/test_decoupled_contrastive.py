"""Decoupled contrastive loss against a loop over positive pairs."""

import torch
from combinations import every
from loop_oracles import CASES, DTYPES, hold, hold_form, hold_selected_pairs, mean_of

from metriscope.objectives.losses.softmax.decoupled_contrastive import DecoupledContrastiveLoss

TEMPERATURE = 0.2


@mean_of
def oracle(s, positives, negatives):
    pushed = torch.stack([s[n] / TEMPERATURE for n in negatives]).exp().sum().log() if negatives else 0
    return [pushed - s[p] / TEMPERATURE for p in positives]


@every(name=CASES, dtype=DTYPES)
def test_against_the_loop(name, dtype):
    hold(DecoupledContrastiveLoss(TEMPERATURE), oracle, name, dtype)


def test_selected_pairs():
    hold_selected_pairs(DecoupledContrastiveLoss(TEMPERATURE), oracle)


def test_form():
    hold_form(DecoupledContrastiveLoss())


def test_small_temperatures_stay_finite():
    hold_form(DecoupledContrastiveLoss(temperature=1e-3))


def test_a_batch_of_one_large_class_is_worth_nothing():
    loss, z = DecoupledContrastiveLoss(), torch.eye(3)[torch.arange(20) % 3].requires_grad_()
    value = loss(z, torch.zeros(20, dtype=torch.int64))
    assert value == 0
    assert not torch.autograd.grad(value, z)[0].any()
