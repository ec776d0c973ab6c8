"""Simple contrastive loss against a loop over positive pairs, and worked values."""

import torch
from combinations import every
from loop_oracles import CASES, DTYPES, hold, hold_form, hold_selected_pairs, mean_of
from worked_examples import compared, hold_example, nearest_share

from metriscope.losses import InfoNCELoss
from metriscope.objectives.losses.pairs.simple_contrastive import SimpleContrastiveLoss


@mean_of
def oracle(s, positives, negatives):
    return [0.7 * sum(s[n] for n in negatives) / len(negatives) - s[p] for p in positives]


@every(name=CASES, dtype=DTYPES)
def test_against_the_loop(name, dtype):
    hold(SimpleContrastiveLoss(0.7), oracle, name, dtype)


def test_selected_pairs_and_form():
    hold_selected_pairs(SimpleContrastiveLoss(0.7), oracle)
    hold_form(SimpleContrastiveLoss())


def test_worked_example():
    hold_example(SimpleContrastiveLoss(), -0.4903, {(0, 3): 1 / 12})


def test_worked_example_of_hard_negatives():
    """The nearest half of each anchor's negatives: the hard simple loss, and the hard contrastive loss beside it."""
    _, comparison = compared()
    hard = nearest_share(comparison, 0.5)
    hold_example(SimpleContrastiveLoss(), -0.1017, {(0, 3): 1 / 8}, selection=hard)
    slopes = {(0, 3): 0.226233972074, (3, 4): -0.167964140633}
    hold_example(InfoNCELoss(0.5), 1.127175494706, slopes, 0.357677580226, selection=hard)


def test_what_the_softmax_becomes_at_a_large_temperature():
    """The slopes of InfoNCE, times its temperature."""
    _, comparison = compared()
    whole = slice(0, 6)
    found = SimpleContrastiveLoss()(comparison, nearest_share(comparison, 1.0)).slopes(whole).slopes
    high = InfoNCELoss(1e6)(comparison, nearest_share(comparison, 1.0)).slopes(whole).slopes * 1e6
    counts = comparison.negative.sum(1, keepdim=True)
    # One positive among N negatives: each has the chance 1 / (N + 1).
    torch.testing.assert_close(high, found * counts / (counts + 1), rtol=0, atol=1e-5)
