"""The hardest share of each anchor's pairs against sorted lists, and the hard contrastive loss."""

import math

import pytest
import torch
from miner_cases import all_cases, case, pair_sets, rows
from worked_examples import compared, hold_example

from metriscope.errors import InputError
from metriscope.losses import InfoNCELoss
from metriscope.objectives.miners.hard_share import HardShareMiner
from metriscope.objectives.selection import TripletBand, as_pairs


def hardest(anchor, distances, columns, share, sign):
    ranked = sorted((sign * distances[j] for j in columns), reverse=True)
    edge = ranked[math.ceil(share * len(ranked)) - 1] if ranked else 0
    return {(anchor, j) for j in columns if sign * distances[j] >= edge}


@pytest.mark.parametrize(("negatives", "positives"), [(0.01, 1.0), (0.4, 0.5), (1.0, 1.0)])
@all_cases
def test_each_anchor_by_its_own_row(layout, further, negatives, positives):
    comparison = case(layout, further)
    found = pair_sets(HardShareMiner(negatives, positives)(comparison), comparison)
    every = list(rows(comparison))
    assert found[0] == set().union(*(hardest(a, d, own, positives, 1) for a, d, own, _ in every))
    assert found[1] == set().union(*(hardest(a, d, others, negatives, -1) for a, d, _, others in every))


def test_the_hard_contrastive_loss_of_the_page():
    # Of the negatives 2 of 3, or 2 of 4.
    z, comparison = compared()
    selection = HardShareMiner(0.5)(comparison)
    slopes = {(0, 3): 0.226233972074, (3, 4): -0.167964140633}
    hold_example(InfoNCELoss(0.5), 1.127175494706, slopes, 0.357677580226, selection, (z, comparison))


def test_a_share_of_one_is_infonce_to_the_bit():
    found = []
    for miner in (HardShareMiner(1.0), None):
        z, comparison = compared()
        value = InfoNCELoss(0.5)(comparison, miner(comparison) if miner else TripletBand()).value
        found.append((value, torch.autograd.grad(value, z)[0]))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])


def test_ties_are_kept_and_a_share_of_a_whole_number_is_that_number():
    comparison = case([0] * 2 + [1] * 100)
    comparison._kept.distances = torch.arange(102.0).expand(102, 102).contiguous()
    # 0.07 x 100 is more than 7 in floating point.
    assert as_pairs(HardShareMiner(0.07)(comparison), comparison).negative[0].sum() == 7
    comparison = case("few classes")
    comparison._kept.distances = torch.zeros_like(comparison.distances)
    assert torch.equal(as_pairs(HardShareMiner(0.1)(comparison), comparison).negative, comparison.negative)


@pytest.mark.parametrize("share", [0.0, 1.5])
def test_a_share_that_is_none(share):
    with pytest.raises(InputError, match=f"^negatives={share}: it has to be "):
        HardShareMiner(share)
