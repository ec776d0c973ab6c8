import pytest
import torch
from combinations import every
from pytorch_metric_learning import losses as peers
from row_oracles import (
    DTYPES,
    LABELLED,
    LAYOUTS,
    Account,
    equal_to_peer,
    hold,
    mean,
    some_pairs,
)

from metriscope.losses import ThresholdConsistentMarginLoss
from metriscope.objectives.distances.cosine import Cosine

KEYS = {"positive_margin": 0.4, "negative_margin": -0.2, "positive_weight": 2.0, "negative_weight": 3.0}


def oracle(batch):
    positives = [1 - batch.distances[a][p] for a, some in enumerate(batch.positive) for p in some]
    negatives = [1 - batch.distances[a][n] for a, some in enumerate(batch.negative) for n in some]
    pulls, pushes = [0.4 - x for x in positives if x <= 0.4], [x + 0.2 for x in negatives if x >= -0.2]
    value = 2 * mean(pulls) + 3 * mean(pushes)
    return Account(value, len(pulls) + len(pushes), len(positives) + len(negatives))


@every(labels=LAYOUTS, dtype=DTYPES, memory=(False, True))
def test_layouts(labels, dtype, memory):
    hold(ThresholdConsistentMarginLoss(**KEYS), oracle, labels, "cosine", dtype, memory)


def test_of_mined_pairs():
    hold(ThresholdConsistentMarginLoss(**KEYS), oracle, LABELLED, "cosine", torch.float64, pairs=some_pairs())


def test_equal_to_pytorch_metric_learning():
    equal_to_peer(ThresholdConsistentMarginLoss(), peers.ThresholdConsistentMarginLoss(), "cosine")
    equal_to_peer(
        ThresholdConsistentMarginLoss(**KEYS), peers.ThresholdConsistentMarginLoss(2.0, 3.0, 0.4, -0.2), "cosine"
    )


def test_what_it_reports():
    z = torch.tensor([[1.0, 0], [0.8, 0.6], [0, 1], [0, 1]], dtype=torch.float64)
    account = ThresholdConsistentMarginLoss().account(z, torch.tensor([0, 0, 1, 1]), distance=Cosine())
    # One positive pair of two lies below 0.9, one negative pair of four above 0.5; each in both directions twice.
    assert account.value.item() == pytest.approx(0.1 + 0.1)
    assert (int(account.active), int(account.terms)) == (2 + 4, 4 + 8)
    parts = {key: part.item() for key, part in account.parts.items()}
    assert parts == pytest.approx(
        {"active_ratio_positive": 0.5, "active_ratio_negative": 0.5, "loss_mean": (2 * 0.1 + 4 * 0.1) / 12}
    )
