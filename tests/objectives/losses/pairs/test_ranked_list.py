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
    fast,
    hold,
    mean,
    runs_compiled_and_in_bfloat16,
)

from metriscope.objectives.losses.pairs.ranked_list import RankedListLoss
from metriscope.objectives.selection import TripletBand

ALPHA, M, BALANCE, T_P, T_N = 1.2, 0.4, 0.3, 2.0, 5.0


def side(hinges, temperature, detach):
    if not hinges:
        return 0
    h = torch.stack(hinges)
    weights = torch.exp(temperature * (h.detach() if detach else h))
    return (weights * h).sum() / weights.sum()


def oracle(detach):
    def account(batch):
        losses, active, terms = [], 0, 0
        for a in batch.full_anchors:
            pulled = [batch.distances[a][p] - (ALPHA - M) for p in batch.positive[a]]
            pushed = [ALPHA - batch.distances[a][n] for n in batch.negative[a]]
            kept = [[h for h in hinges if h > 0] for hinges in (pulled, pushed)]
            losses.append(
                (1 - BALANCE) * side(kept[0], T_P, detach) + BALANCE * side(kept[1], T_N, detach) + batch.z.sum() * 0
            )
            active, terms = active + len(kept[0]) + len(kept[1]), terms + len(pulled) + len(pushed)
        return Account(mean(losses), active, terms)

    return account


@pytest.mark.parametrize("detach", [True, False])
@every(labels=LAYOUTS, dtype=DTYPES, memory=(False, True))
def test_every_anchor_in_turn(labels, detach, dtype, memory):
    loss = RankedListLoss(ALPHA, M, BALANCE, T_P, T_N, detach)
    hold(loss, oracle(detach), labels, "euclidean", dtype, memory)


@pytest.mark.parametrize("scale", [1e-3, 20.0])
def test_without_non_trivial_points_on_one_side(scale):
    loss = RankedListLoss(ALPHA, M, BALANCE, T_P, T_N)
    hold(loss, oracle(True), LABELLED, "euclidean", torch.float64, scale=scale)


def test_the_mean_over_all_hinges_is_reported():
    z = torch.tensor([[0.0], [1.0], [1.5], [9.0]])
    output = RankedListLoss()(fast(z, [0, 0, 1, 1], "euclidean"), TripletBand())
    hinges = [1.0 - 0.8] * 2 + [7.5 - 0.8] * 2 + [1.2 - 0.5] * 2
    assert int(output.active) == 6
    assert float(output.parts["loss_mean"]) == pytest.approx(sum(hinges) / 12)


def test_compiled_and_bfloat16():
    runs_compiled_and_in_bfloat16(RankedListLoss(), "euclidean")


def test_close_to_pytorch_metric_learning():
    """Its denominators carry 1e-5 for each column."""
    peer = peers.RankedListLoss(margin=M, Tn=T_N, imbalance=BALANCE, alpha=ALPHA, Tp=T_P)
    equal_to_peer(RankedListLoss(ALPHA, M, BALANCE, T_P, T_N, detach_weights=False), peer, "euclidean", 5e-4)
