"""Losses by themselves: of embeddings and labels, without an objective."""

import pytest
import torch
from toy_parts import Idle

from metriscope.config.objective import shipped
from metriscope.errors import InputError
from metriscope.losses import ArcFaceLoss, ContrastiveLoss, SupConLoss, TripletLoss
from metriscope.miners import BandMiner, BatchHardMiner
from metriscope.objectives.distances.cosine import Cosine
from metriscope.objectives.distances.euclidean import Euclidean
from metriscope.objectives.miners.bands import AllMiner
from metriscope.objectives.objective import Objective
from metriscope.objectives.samples import Samples, Spaces

LABELS = torch.tensor([0, 0, 1, 1, 2])


def batch():
    source = torch.Generator().manual_seed(0)
    z = torch.nn.functional.normalize(torch.randn(5, 4, generator=source), dim=1)
    return z.requires_grad_()


@pytest.mark.parametrize("distance", [None, Cosine()])
def test_a_call_is_what_a_run_computes(distance):
    z, loss = batch(), SupConLoss()
    value = loss(z, LABELS, distance=distance)
    objective = Objective(Euclidean() if distance is None else distance, AllMiner(), loss)
    assert torch.equal(value, objective(Spaces.of(z, LABELS)).output.value)
    value.backward()
    assert z.grad.abs().sum() > 0


def test_with_a_miner_and_with_references():
    z, loss = batch(), TripletLoss(margin=2.0)
    account = loss.account(z, LABELS, miner=BatchHardMiner())
    assert int(account.terms) == 4
    assert loss(z, LABELS, miner=BatchHardMiner()) == account.value
    references = Samples.of(torch.eye(4), torch.tensor([2, 2, 0, -1]))
    more = loss.account(z, LABELS, references=references)
    # Positives times negatives of each anchor, among four others and three known references.
    assert int(more.terms) == 2 * 2 * 5 + 2 * 1 * 6 + 2 * 5


def test_a_loss_with_parameters():
    loss = ArcFaceLoss(3, 4)
    loss(batch(), LABELS).backward()
    assert loss.proxies.grad is not None


def test_which_losses_compare():
    sizes = {"num_classes": 2, "embedding_size": 2}
    assert not Idle().compares(2)
    for name, part in shipped("loss").items():
        proxies = "classes" in part.__module__
        loss = part(**sizes) if proxies or name in ("margin", "simlap") else part()
        # One compares samples beside proxies.
        assert loss.compares(2) == (not proxies or name == "unpg"), name


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ((torch.eye(3), torch.tensor([0, 1])), r"embeddings \(3, 3\) and labels \(2,\)"),
        ((torch.ones(3), torch.tensor([0, 1, 2])), r"embeddings \(3,\) and labels \(3,\)"),
        ((torch.eye(2), torch.tensor([0.0, 1.0])), "labels .* of torch.float32: give"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, line):
    with pytest.raises(InputError, match=line):
        ContrastiveLoss()(*arguments)


def test_a_miner_that_does_not_fit_is_refused():
    with pytest.raises(InputError, match=r"ContrastiveLoss cannot take BandMiner \(it selects band\); it takes all,"):
        ContrastiveLoss()(batch(), LABELS, miner=BandMiner(0.0, 0.2))
