"""Mixtures of hard pairs: what is mixed, what it is called, and what is drawn."""

import torch
from combinations import every
from torch.nn.functional import normalize

from metriscope.losses import SupConLoss
from metriscope.miners import AllMiner
from metriscope.objectives.distances.cosine import Cosine
from metriscope.objectives.objective import Objective
from metriscope.objectives.references.hard_pairs import HardPairs
from metriscope.objectives.samples import Moment, Samples, Spaces

MIXED = torch.iinfo(torch.int64).max
LABELS = [0, 0, 1, 1, 2, 2, 0, 3]


def batch(labels=LABELS, seed=0):
    source = torch.Generator().manual_seed(seed)
    z = normalize(torch.randn(len(labels), 4, generator=source, dtype=torch.float64), dim=1)
    return z.requires_grad_(), torch.tensor(labels, dtype=torch.int64)


def recalled(z, labels, seed=0, **keys):
    segment = HardPairs(**keys).recall(Samples.of(z, labels), Moment(generator=torch.Generator().manual_seed(seed)))
    assert segment.synthetic
    assert not segment.negatives_only
    return segment.samples


def solved(z, point, first, second):
    """The share of the first end in a point of the segment before normalisation."""
    p, q, x = (one.detach() for one in (z[first], z[second], point))
    a, b = torch.linalg.lstsq(torch.stack([p, q], 1), x.unsqueeze(1)).solution.flatten().tolist()
    assert min(a, b) >= -1e-9
    return a / (a + b)


@every(seed=range(5), least=(0.8, 0.3))
def test_hard_negatives_lie_near_a_partner(seed, least):
    z, labels = batch(seed=seed)
    found = recalled(z, labels, seed, least_share=least)
    for i in range(len(z)):
        ends = []
        for j in range(len(z)):
            together = torch.stack([z[i], z[j], found.embeddings[i]]).detach()
            if j != i and torch.linalg.matrix_rank(together, tol=1e-9) == 2:
                ends.append(j)
        assert len(ends) == 1, "one partner, and never the sample itself"
        assert solved(z, found.embeddings[i], ends[0], i) >= least - 1e-9
        same = labels[i] == labels[ends[0]]
        assert int(found.labels[i]) == (int(labels[i]) if same else MIXED)


def test_hard_positives_lie_between_the_furthest_positive_and_the_closest_negative():
    z, labels = batch()
    found, s = recalled(z, labels), (z @ z.T).detach()
    for i in range(len(z)):
        positives = [j for j in range(len(z)) if j != i and labels[j] == labels[i]]
        negatives = [j for j in range(len(z)) if labels[j] != labels[i]]
        if not positives:
            assert found.labels[len(z) + i] == -1
            continue
        p, n = min(positives, key=lambda j: s[i, j]), max(negatives, key=lambda j: s[i, j])
        assert 0 <= solved(z, found.embeddings[len(z) + i], p, n) <= 1
        assert found.labels[len(z) + i] == MIXED


def test_mixtures_of_one_class_are_positives_and_others_everybodys_negatives():
    z, labels = batch()
    references = HardPairs()
    built = Objective(Cosine(), AllMiner(), SupConLoss(0.5, focal=1), [references])
    moment = Moment(generator=torch.Generator().manual_seed(1))
    segment = references.recall(Samples.of(z, labels), moment).samples
    every_label = torch.cat([labels, segment.labels])
    assert set(segment.labels.tolist()) > {-1, MIXED}
    every_z = normalize(torch.cat([z, segment.embeddings]), dim=1)
    chances = (every_z[: len(z)] @ every_z.T / 0.5).exp()
    losses = []
    for i, label in enumerate(labels.tolist()):
        beside = [j for j in range(len(every_z)) if j != i and every_label[j] >= 0]
        positives = [j for j in beside if every_label[j] == label]
        p = [chances[i, j] / sum(chances[i, k] for k in beside) for j in positives]
        losses += [-sum((1 - one) * one.log() for one in p) / len(p)] if p else []
    wanted = sum(losses) / len(losses)
    moment = Moment(generator=torch.Generator().manual_seed(1))
    value = built(Spaces.of(z, labels), moment).output.value
    torch.testing.assert_close(value, wanted, rtol=1e-12, atol=1e-13)
    gradients = [torch.autograd.grad(one, z, retain_graph=True)[0] for one in (value, wanted)]
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-12)


def test_one_end_alone_has_its_label():
    z, labels = batch()
    whole = recalled(z, labels, alpha=1e-3)
    assert not (whole.labels[: len(z)] == MIXED).all()
    named = whole.labels[len(z) :].tolist()
    assert set(named) <= {-1, 0, 1, 2, 3, MIXED}
    assert set(named) - {-1, MIXED}, "shares are mostly 0 or 1"


def test_draws_are_those_of_the_moment():
    z, labels = batch()
    one, again, other = (recalled(z, labels, seed) for seed in (3, 3, 4))
    assert torch.equal(one.embeddings, again.embeddings)
    assert not torch.equal(one.embeddings, other.embeddings)


@every(labels=([], [0], [0, 0], [0, 1], [-1, -1, 0], [4] * 6), same=(True, False))
def test_batches_at_the_edge(labels, same):
    z, own = batch(labels)
    z = (z[:1].expand_as(z) if same else z).detach().requires_grad_()
    found = recalled(z, own)
    assert found.embeddings.shape == (2 * len(labels), 4)
    assert found.embeddings.isfinite().all()
    assert torch.autograd.grad(found.embeddings.sum(), z)[0].isfinite().all()
    known = [label for label in labels if label >= 0]
    if len(set(known)) < 2:
        assert (found.labels[len(labels) :] == -1).all(), "hard positives need both"
        assert set(found.labels.tolist()) <= {-1, *known}
