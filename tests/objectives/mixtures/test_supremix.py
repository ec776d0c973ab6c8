"""Mixtures of the anchor and each negative: the worked value on class labels, and shares."""

import pytest
import torch
from six_points import compared, hold

from metriscope.losses import SupConLoss
from metriscope.mixtures import AnchorNegativeMixture
from metriscope.objectives.distances.cosine import Cosine
from metriscope.objectives.miners.bands import AllMiner
from metriscope.objectives.mixtures.beta import BetaDraw
from metriscope.objectives.objective import Objective
from metriscope.objectives.samples import Moment
from metriscope.objectives.selection import Pairs, TripletBand


def test_worked_value(monkeypatch):
    """The anchor's share is 0.2 everywhere."""
    monkeypatch.setattr(BetaDraw, "forward", lambda self, uniform: torch.full_like(uniform, 0.2))
    t, comparison = compared(Cosine(), [0, 30, 70, 120], [1, 2, 2, 4])
    objective = Objective(Cosine(), AllMiner(), SupConLoss(0.5), mixture=AnchorNegativeMixture())
    output = objective.judge(comparison, TripletBand()).output
    hold(output.value, t, 1.379553842838, [0.2531595165, -1.1076148804, 1.0421472447, -0.2089270038])


def test_one_for_each_negative():
    _, comparison = compared(Cosine())
    comparison.moment = Moment(generator=torch.Generator().manual_seed(1))
    mixtures = AnchorNegativeMixture().mix(comparison, Pairs(comparison.positive, comparison.negative))
    assert torch.equal(mixtures.valid, comparison.negative)
    assert (mixtures.first == -1).all()
    assert torch.equal(mixtures.second, torch.arange(6).expand(6, 6))
    assert mixtures.share.mean().item() == pytest.approx(0.2, abs=0.08)
    assert mixtures.frozen
