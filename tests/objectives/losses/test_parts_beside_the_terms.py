"""What losses add to the mean of their terms, and when, as pytorch-metric-learning has it."""

import pytest
import torch
from oracles import compare
from pytorch_metric_learning import losses as peers
from pytorch_metric_learning.regularizers import ZeroMeanRegularizer

from metriscope.losses import HistogramLoss, MarginLoss, SignalToNoiseLoss
from metriscope.objectives.selection import Pairs, TripletBand

ALL = TripletBand()


def unit(count, seed=0):
    source = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(count, 4, dtype=torch.float64, generator=source))


def margin_loss(**keys):
    return MarginLoss(3, 4, margin=0.2, beta=1.0, count="triplets", reduction="mean_active", **keys).double()


@pytest.mark.parametrize("per_class", [True, False])
def test_fixed_boundaries_add_nothing(per_class):
    z, labels = unit(6), [0, 0, 1, 1, 2, 2]
    comparison = compare(z, labels, "euclidean")
    value = margin_loss(learn_beta=False, beta_per_class=per_class, nu=0.1)(comparison, ALL).value
    without = margin_loss(learn_beta=False, beta_per_class=per_class)(comparison, ALL).value
    learned = margin_loss(beta_per_class=per_class, nu=0.1)(comparison, ALL).value
    peer = peers.MarginLoss(0.2, 0.1, 1.0, num_classes=3 if per_class else None)
    assert value.item() == without.item() == pytest.approx(peer(z, torch.tensor(labels)).item(), rel=1e-7)
    assert learned.item() - value.item() == pytest.approx(0.1)


@pytest.mark.parametrize("labels", [[0, 0, 1, 1], [0, 0, 1, 2], [0, 1, 2], [0]])
def test_the_zero_mean_part_needs_no_pairs(labels):
    leaf = unit(len(labels)).requires_grad_()
    # The other library normalises by itself, and derives through that.
    z = torch.nn.functional.normalize(leaf)
    loss = SignalToNoiseLoss(mean_weight=0.2, reduction="mean_active")
    output = loss(compare(z, labels, "squared_euclidean"), ALL)
    peer = peers.SignalToNoiseRatioContrastiveLoss(
        embedding_regularizer=ZeroMeanRegularizer(), embedding_reg_weight=0.2
    )
    wanted = peer(z, torch.tensor(labels))
    torch.testing.assert_close(output.value, wanted)
    found, expected = (torch.autograd.grad(value, leaf, retain_graph=True)[0] for value in (output.value, wanted))
    torch.testing.assert_close(found, expected)


def test_the_zero_mean_part_of_one_sample_and_of_none():
    loss, z = SignalToNoiseLoss(mean_weight=0.2), torch.eye(4)
    assert loss(compare(z[:1], [0], "squared_euclidean"), ALL).value.item() == pytest.approx(0.2)
    assert loss(compare(z[:0], [], "squared_euclidean"), ALL).value.item() == 0


def histogram(z, labels, selection=ALL):
    return HistogramLoss()(compare(z, labels, "cosine"), selection).value.item()


def test_which_pairs_the_other_histogram_loss_leaves_out():
    """Negative pairs of two samples neither of which has a positive."""
    z, labels = unit(7, seed=1), [0, 0, 0, 0, 1, 2, 3]
    comparison = compare(z, labels, "cosine")
    paired = comparison.positive.any(1)
    kept = Pairs(comparison.positive, comparison.negative & (paired.unsqueeze(1) | paired))
    wanted = peers.HistogramLoss()(z, torch.tensor(labels)).item()
    assert histogram(z, labels, kept) == pytest.approx(wanted, abs=1e-5)
    assert histogram(z, labels) != pytest.approx(wanted, abs=1e-3)


def test_the_other_histogram_loss_counts_a_pair_once():
    z, labels = unit(6), [0, 0, 1, 1, 2, 2]
    positive, negative = torch.zeros(2, 6, 6, dtype=torch.bool)
    positive[[0, 1, 2], [1, 0, 3]] = True
    negative[[0, 2, 0, 2, 1], [2, 0, 4, 5, 4]] = True
    indices = (*positive.nonzero().unbind(1), *negative.nonzero().unbind(1))
    wanted = peers.HistogramLoss()(z, torch.tensor(labels), indices).item()
    once = Pairs(*((mask | mask.T).triu() for mask in (positive, negative)))
    assert histogram(z, labels, once) == pytest.approx(wanted, abs=1e-5)
    assert histogram(z, labels, Pairs(positive, negative)) != pytest.approx(wanted, abs=1e-3)
