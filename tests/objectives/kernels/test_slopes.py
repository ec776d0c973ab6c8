"""The slopes of a loss by its pairs are those of the same loss written with whole matrices."""

import pytest
import torch
from combinations import every
from oracles import DISTANCES
from row_losses import Halved, Softmax, Stretched, Threefold, judged, points
from row_oracles import LABELLED, MEMORY
from row_rules import B, R, numbers

from metriscope.errors import InputError
from metriscope.losses import ContrastiveLoss, InfoNCELoss, MarginLoss, NCALoss, RankedListLoss, SupConLoss, TripletLoss
from metriscope.objectives.losses.row_loss import RowLoss
from metriscope.objectives.selection import Pairs

LABELS = torch.tensor([*LABELLED, *MEMORY])
POSITIVE = (LABELS[:B].unsqueeze(1) == LABELS).fill_diagonal_(False)
NEGATIVE = (LABELS[:B].unsqueeze(1) != LABELS) & (LABELS >= 0)
WEIGHTS = numbers(B, 1, 9).detach()
NONE = torch.tensor(float("-inf"), dtype=torch.float64)


def by_index(losses, index):
    return WEIGHTS[index]


def log_sum(logits, mask):
    return torch.where(mask, logits, NONE).logsumexp(1, keepdim=True)


def infonce(loss, s):
    logits = s / loss.temperature
    terms = torch.logaddexp(logits, log_sum(logits, NEGATIVE)) - logits
    return (terms * POSITIVE).sum(1) * B / POSITIVE.sum()


def supcon(loss, s):
    logits = s / loss.temperature
    own = (logits * POSITIVE).sum(1) / POSITIVE.sum(1)
    return log_sum(logits, POSITIVE | NEGATIVE).squeeze(1) - own


def softmax(loss, s):
    logits = s / loss.temperature
    return (log_sum(logits, POSITIVE | NEGATIVE) - log_sum(logits, POSITIVE)).squeeze(1)


def nca(loss, d):
    return (log_sum(-d, POSITIVE | NEGATIVE) - log_sum(-d, POSITIVE)).squeeze(1)


def expected(loss, d):
    return 1 - (-nca(loss, d)).exp()


def contrastive(loss, d):
    pulls, pushes = (d - 0.2).clamp_min(0) * POSITIVE, (1 - d).clamp_min(0) * NEGATIVE
    sums = [hinges.square().sum(1) / (hinges > 0).sum() for hinges in (pulls, pushes)]
    return (sums[0] + sums[1]) * B


def triplet(loss, d):
    chosen = POSITIVE.unsqueeze(2) & NEGATIVE.unsqueeze(1)
    hinges = (d.unsqueeze(2) - d.unsqueeze(1) + 0.5).clamp_min(0) * chosen
    return hinges.sum((1, 2)) * B / chosen.sum()


def margin(loss, d):
    beta = loss.beta.detach()[LABELS[:B]].unsqueeze(1)
    hinges = (d - beta + 0.2).clamp_min(0) * POSITIVE + (beta - d + 0.2).clamp_min(0) * NEGATIVE
    return hinges.sum(1) * B / (POSITIVE.sum() + NEGATIVE.sum())


def ranked_list(loss, d):
    sides = []
    for hinges, mask, sharpness in ((d - 0.8, POSITIVE, 0.0), (1.2 - d, NEGATIVE, 10.0)):
        active = mask & (hinges > 0)
        weights = (sharpness * hinges.detach()).exp() * active
        sides.append((weights * hinges).sum(1) / weights.sum(1).clamp_min(1e-300))
    return (sides[0] + sides[1]) / 2


PLAIN = Softmax()
# A loss, the losses of anchors whose mean it is, and whether these are of distances.
CASES = {
    "infonce": (InfoNCELoss(0.3), infonce, False),
    "supcon": (SupConLoss(0.3), supcon, False),
    "a formula with a parameter": (PLAIN, softmax, False),
    "nca": (NCALoss(), nca, True),
    "nca, expected": (NCALoss(objective="expected"), expected, True),
    "contrastive": (ContrastiveLoss(positive_margin=0.2, reduction="mean_active"), contrastive, True),
    "triplet": (TripletLoss(0.5), triplet, True),
    "margin": (MarginLoss(3, 4, beta=0.7).double(), margin, True),
    "ranked list": (RankedListLoss(), ranked_list, True),
}
WHOLE, SLICES = slice(0, B), (slice(0, 1), slice(1, 7), slice(7, B))


def matrix_of(distance, of_distances):
    z, past = points()
    d = distance(z, torch.cat([z, past]))
    return (d if of_distances else distance.similarity(d)).detach().requires_grad_()


@every(case=CASES, distance=(*DISTANCES.values(), Halved, Stretched, Threefold))
def test_slopes(case, distance):
    loss, rows, of_distances = case
    distance = distance()
    output = judged(loss, *points(), distance)
    matrix = matrix_of(distance, of_distances)
    value = rows(loss, matrix).mean()
    torch.testing.assert_close(output.value, value, rtol=1e-9, atol=1e-12, check_dtype=False)
    (wanted,) = torch.autograd.grad(value, matrix)
    found = [output.slopes(share) for share in (WHOLE, *SLICES)]
    for one in (found[0].slopes, torch.cat([part.slopes for part in found[1:]])):
        torch.testing.assert_close(one, wanted, rtol=1e-8, atol=1e-10)
    if of_distances:
        torch.testing.assert_close(found[0].distances, matrix.detach(), rtol=1e-9, atol=1e-10)
    else:
        assert found[0].distances is None


@every(case={name: case for name, case in CASES.items() if name in ("supcon", "nca", "a formula with a parameter")})
def test_slopes_with_weights_of_anchors(case):
    loss, rows, of_distances = case
    distance = DISTANCES["cosine"]()
    output = judged(loss, *points(), distance, weigh=by_index)
    matrix = matrix_of(distance, of_distances)
    (wanted,) = torch.autograd.grad((rows(loss, matrix) * WEIGHTS.squeeze(1)).mean(), matrix)
    torch.testing.assert_close(output.slopes(WHOLE).slopes, wanted, rtol=1e-8, atol=1e-10)


def test_slopes_of_some_pairs():
    kept = torch.rand(B, R, generator=torch.Generator().manual_seed(1)) < 0.7
    pairs = Pairs(POSITIVE & kept, NEGATIVE & kept)
    for loss in (InfoNCELoss(), ContrastiveLoss(), NCALoss()):
        slopes = judged(loss, *points(), selection=pairs).slopes(WHOLE).slopes
        assert not slopes[~kept].any()
        assert slopes[kept].any()


def slopes_within(mode, loss):
    with mode():
        return judged(loss, *points()).slopes(WHOLE).slopes


@every(case=CASES)
def test_slopes_without_a_graph(case):
    loss, _, _ = case
    wanted = judged(loss, *points()).slopes(WHOLE).slopes
    torch.testing.assert_close(slopes_within(torch.no_grad, loss), wanted, rtol=1e-12, atol=1e-12)
    if loss is not PLAIN:
        torch.testing.assert_close(slopes_within(torch.inference_mode, loss), wanted, rtol=1e-12, atol=1e-12)


def test_slopes_of_a_formula_in_inference_mode():
    with pytest.raises(InputError, match=r"a formula has no slopes in torch.inference_mode\(\)"):
        slopes_within(torch.inference_mode, PLAIN)


class Total(RowLoss):
    """A sum of all values of a row, whose derivative torch keeps as one number."""

    def formula(self, rows):
        return rows.values.sum(1, keepdim=True)


@every(distance=DISTANCES)
def test_slopes_that_are_one_number(distance):
    distance = distance()
    output = judged(Total(), *points(), distance)
    torch.testing.assert_close(output.slopes(WHOLE).slopes, torch.full((B, R), 1 / B, dtype=torch.float64))
    matrix = matrix_of(distance, False)
    torch.testing.assert_close(output.value.detach(), matrix.detach().sum() / B)
