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
    some_pairs,
)

from metriscope.losses import IntraPairVarianceLoss
from metriscope.objectives.selection import TripletBand

KEYS = {"positive_epsilon": 0.1, "negative_epsilon": 0.3}


def oracle(batch):
    positives = [1 - batch.distances[a][p] for a, some in enumerate(batch.positive) for p in some]
    negatives = [1 - batch.distances[a][n] for a, some in enumerate(batch.negative) for n in some]
    least, most = 0.9 * mean(positives), 1.3 * mean(negatives)
    pulls, pushes = [(least - x).clamp_min(0) for x in positives], [(x - most).clamp_min(0) for x in negatives]
    value = sum(mean([h**2 for h in hinges]) for hinges in (pulls, pushes))
    return Account(value, sum(bool(h > 0) for h in pulls + pushes), len(pulls) + len(pushes))


@every(labels=LAYOUTS, dtype=DTYPES, memory=(False, True))
def test_layouts(labels, dtype, memory):
    hold(IntraPairVarianceLoss(**KEYS), oracle, labels, "cosine", dtype, memory)


def test_of_mined_pairs():
    hold(IntraPairVarianceLoss(**KEYS), oracle, LABELLED, "cosine", torch.float64, pairs=some_pairs())


def test_equal_to_pytorch_metric_learning():
    equal_to_peer(IntraPairVarianceLoss(), peers.IntraPairVarianceLoss(), "cosine")
    equal_to_peer(IntraPairVarianceLoss(0.1, 0.3), peers.IntraPairVarianceLoss(0.1, 0.3), "euclidean")


def test_slopes_of_pairs_flow_through_the_means():
    z = torch.randn(10, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3)).requires_grad_()
    comparison = fast(z, LABELLED, "cosine")
    found = IntraPairVarianceLoss(**KEYS)(comparison, TripletBand()).slopes(slice(0, 10)).slopes
    s = comparison.similarities.detach().requires_grad_()
    up, down = s[comparison.positive], s[comparison.negative]
    value = (0.9 * up.mean() - up).clamp_min(0).square().mean() + (down - 1.3 * down.mean()).clamp_min(
        0
    ).square().mean()
    torch.testing.assert_close(found, torch.autograd.grad(value, s)[0])
