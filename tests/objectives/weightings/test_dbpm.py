"""Dynamic bad pair mining against the example of its page, and what it keeps."""

from types import SimpleNamespace

import pytest
import torch
from torch import tensor

from metriscope.errors import InputError
from metriscope.losses import InfoNCELoss
from metriscope.objectives.distances.cosine import Cosine
from metriscope.objectives.miners.bands import AllMiner
from metriscope.objectives.objective import Objective
from metriscope.objectives.output import LossOutput
from metriscope.objectives.samples import Moment, Spaces
from metriscope.objectives.weightings.base import Weighting
from metriscope.objectives.weightings.dbpm import DynamicBadPairWeighting

HISTORY = [
    [1, 0.9, 0.8],
    [1.2, 1, 0.9],
    [0.1, 0.1, 0.05],
    [3, 3.2, 3.1],
    [1.1, 1, 1],
    [0.9, 0.8, 0.9],
]
CURRENT = tensor([0.7, 0.8, 0.06, 3, 0.9, 0.8], dtype=torch.float64).unsqueeze(1)
ANGLES = tensor([0.0, 30, 40, 80, 120, 200], dtype=torch.float64).deg2rad()
LABELS = tensor([0, 0, 1, 1, 2, 2])


def account(costs, index=None, counts=None):
    costs = torch.as_tensor(costs, dtype=torch.float64)
    counts = torch.ones(len(costs), dtype=torch.int64) if counts is None else tensor(counts)
    index = torch.arange(len(costs)) if index is None else tensor(index)
    output = LossOutput(costs.mean(), counts.sum(), counts.sum(), {}, rows=costs * counts, counts=counts)
    return SimpleNamespace(comparison=SimpleNamespace(anchors=SimpleNamespace(index=index)), output=output, loss=None)


def remembering(epochs=3, **arguments):
    """A weighting that has seen the epochs of the history, and weighs from then on."""
    part = DynamicBadPairWeighting(6, epochs=epochs + 1, warmup_share=epochs / (epochs + 1), **arguments).double()
    for epoch in range(epochs):
        part.observe(account([losses[epoch] for losses in HISTORY]), Moment(epoch))
    return part


def weights(part, epoch=3, losses=CURRENT):
    return part.weigh_rows(losses, torch.arange(len(losses)), Moment(epoch)).squeeze(1)


@pytest.mark.parametrize(
    ("kernel", "easy", "hard", "total"),
    [
        ("density", 0.209848845334, 0.060415450409, 0.565639546991),
        ("bounded", 0.48534072082, 0.139729519138, 0.6080515001),
    ],
)
def test_the_example_of_the_page(kernel, easy, hard, total):
    part = remembering(easy=1, hard=1, kernel=kernel)
    found = part.judged()
    torch.testing.assert_close(found.mean.item(), 1.169444444444, rtol=0, atol=1e-12)
    torch.testing.assert_close(found.deviation.item(), 0.922678100175, rtol=0, atol=1e-12)
    assert found.kind.tolist() == [0, 0, -1, 1, 0, 0]
    w = weights(part)
    torch.testing.assert_close(w, tensor([1, 1, easy, hard, 1, 1], dtype=torch.float64), rtol=0, atol=1e-11)
    torch.testing.assert_close((w * CURRENT.squeeze(1)).mean().item(), total, rtol=0, atol=1e-10)


def test_the_plumbing_of_factors_of_anchors():
    class Given(Weighting):
        weighs = frozenset({"rows"})

        def weigh_rows(self, losses, index, moment):
            return tensor([1, 1, 0.5, 1, 1, 0.25], dtype=losses.dtype)[index].unsqueeze(1)

    angles = ANGLES.clone().requires_grad_()
    z = torch.stack([angles.cos(), angles.sin()], 1)
    output = Objective(Cosine(), AllMiner(), InfoNCELoss(0.5), weighting=Given())(
        Spaces.of(z, LABELS, torch.arange(6))
    ).output
    wanted = [0.77068486333, 1.134506961448, 1.357810952259, 1.152728907082, 1.830426555073, 0.453805222251]
    torch.testing.assert_close(output.rows, tensor(wanted, dtype=torch.float64), rtol=0, atol=1e-11)
    torch.testing.assert_close(output.value.item(), 0.946784011437, rtol=0, atol=1e-11)
    slopes = [-0.0068151368, 0.4114126497, -0.3020575002, 0.240053851, -0.6285774658, 0.285983602]
    (found,) = torch.autograd.grad(output.value, angles)
    torch.testing.assert_close(found, tensor(slopes, dtype=torch.float64), rtol=0, atol=1e-9)


def test_nothing_is_bad_in_the_warmup_or_without_spread():
    part = remembering(easy=1, hard=1)
    assert torch.equal(weights(part, epoch=2), torch.ones(6, dtype=torch.float64))
    fresh = DynamicBadPairWeighting(6, warmup_share=0.0, easy=0.1, hard=0.1).double()
    assert torch.equal(weights(fresh, epoch=0), torch.ones(6, dtype=torch.float64))
    # The mean of these is not 0.1 to the last bit.
    fresh.observe(account([0.1] * 6), Moment(0))
    assert torch.equal(weights(fresh, epoch=1), torch.ones(6, dtype=torch.float64))


def test_who_counts_in_the_history():
    part = DynamicBadPairWeighting(4).double()
    # Sample 2 twice; one of no training set; sample 1 without a term; sample 0 with three terms that add up to 6.
    part.observe(account([2.0, 9.0, 1.0, 5.0, 3.0], [0, -1, 2, 1, 2], [3, 1, 1, 0, 1]), Moment(0))
    found = part.judged()
    assert found.means.tolist() == [2, 0, 2, 0]
    assert found.seen.tolist() == [True, False, True, False]
    assert part.history.count.tolist() == [1, 0, 2, 0]


def test_an_anchor_without_an_index_has_weight_one():
    part = remembering(easy=1, hard=1)
    found = part.weigh_rows(CURRENT[2:4], tensor([-1, 3]), Moment(3))
    assert found[0] == 1
    assert found[1] < 1


def test_what_the_start_of_an_epoch_has_found_stays_through_it_and_is_in_the_checkpoint():
    part = remembering(easy=1, hard=1)
    before = weights(part)
    part.observe(account([10.0, 0.1, 0.1, 0.1, 0.1, 0.1]), Moment(3))
    assert torch.equal(weights(part), before)
    resumed = DynamicBadPairWeighting(6, epochs=4, warmup_share=0.75, easy=1, hard=1).double()
    resumed.load_state_dict(part.state_dict())
    assert torch.equal(weights(resumed), before)
    assert not torch.equal(weights(part, epoch=4), before)
    assert torch.equal(weights(part, epoch=4), weights(resumed, epoch=4))


def test_the_state_keeps_its_digits_in_half_precision():
    part = DynamicBadPairWeighting(3).to(torch.bfloat16)
    assert (part.mean.dtype, part.history.total.dtype) == (torch.float64, torch.float32)


def test_within_an_objective():
    part = DynamicBadPairWeighting(6, epochs=3, warmup_share=0.4, easy=1, hard=1).double()
    plain = Objective(Cosine(), AllMiner(), InfoNCELoss(0.5))
    objective = Objective(Cosine(), AllMiner(), InfoNCELoss(0.5), weighting=part)
    z = torch.stack([ANGLES.cos(), ANGLES.sin()], 1).requires_grad_()
    batch = Spaces.of(z, LABELS, torch.arange(6))
    values = [objective(batch, Moment(epoch)).output for epoch in range(3)]
    unweighed = plain(batch).output
    assert torch.equal(values[0].value, unweighed.value)
    torch.testing.assert_close(part.judged().means, unweighed.costs)
    kind = part.judged().kind
    assert {int(k) for k in kind} == {-1, 0, 1}
    assert values[2].value < unweighed.value
    assert float(values[2].parts["weight_mean"]) < float(values[0].parts["weight_mean"]) == 1
    assert float(values[2].parts["bad_hard_share"]) == pytest.approx(float((kind == 1).double().mean()))
    # Not in an evaluation.
    objective.eval()
    count = part.history.count.clone()
    assert "weight_mean" not in objective(batch, Moment(2)).output.parts
    assert torch.equal(part.history.count, count)


def test_a_loss_that_does_not_say_what_anchors_cost():
    output = LossOutput(tensor(0.0), tensor(0), tensor(0), {})
    without = SimpleNamespace(output=output, loss=InfoNCELoss(), comparison=None)
    with pytest.raises(InputError, match=r"^InfoNCELoss does not say what each anchor costs, .*weighting=dbpm needs$"):
        DynamicBadPairWeighting(3).observe(without, Moment())
