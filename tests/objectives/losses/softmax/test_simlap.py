"""SimLAP: the worked example, a slow loop, partners and their equalities, and what becomes of gates."""

import pytest
import torch
from combinations import every

from metriscope.errors import InputError
from metriscope.losses import InfoNCELoss, SimLAPLoss
from metriscope.objectives.comparison import Comparison, Segment
from metriscope.objectives.distances.cosine import Cosine
from metriscope.objectives.losses.classes.proxies import own_classes
from metriscope.objectives.miners.bands import AllMiner
from metriscope.objectives.objective import Objective
from metriscope.objectives.samples import Moment, Samples, Spaces

Z4 = torch.tensor([[1, 0], [0.8, 0.6], [0, 1], [-0.6, 0.8]], dtype=torch.float64)
SMALL = {"class_size": 3, "hidden": 5}


class Told(SimLAPLoss):
    """Partners and gates as a test gives them."""

    partner, given = (), ()

    def partners(self, own, generator):
        return own_classes(torch.tensor(self.partner), self.num_classes)

    def gates(self, first, second):
        return torch.tensor(self.given, dtype=torch.float64) if self.given else super().gates(first, second)


def judged(loss, z, labels, index=None, seed=0):
    """The output, and the gradient by embeddings."""
    z = z.detach().clone().requires_grad_()
    labels = torch.tensor(labels, dtype=torch.int64)
    index = None if index is None else torch.tensor(index)
    moment = Moment(generator=torch.Generator().manual_seed(seed))
    output = Objective(Cosine(), AllMiner(), loss).train(loss.training)(Spaces.of(z, labels, index), moment).output
    return output, torch.autograd.grad(output.value, z)[0]


def test_the_worked_example():
    loss = Told(3, 2, temperature=0.5, **SMALL).double()
    loss.log_scale.data.fill_(torch.tensor(2.0).double().log())
    # Both views are the same leaf, and the own key, in the other view, is kept.
    loss.partner, loss.given = [1, 0, 2, 0] * 2, [[0.5, 1], [1, 0.2], [1, 1], [0.9, 0.4]] * 2
    output, gradient = judged(loss, Z4.repeat(2, 1), [0, 0, 1, 2] * 2, [0, 1, 2, 3] * 2)
    assert output.value.item() == pytest.approx(0.74659938554, abs=6e-12)
    assert int(output.terms) == int(output.active) == 2 * 6
    assert (gradient[0] + gradient[4])[1].item() == pytest.approx(-0.0272345300, abs=6e-11)


def loop(z, labels, partner, gates, scale, views=None):
    terms = []
    for i, (y, b) in enumerate(zip(labels, partner, strict=True)):
        if min(y, b) < 0:
            continue
        logit = [scale * (gates[i] ** 2 * z[i] * k).sum() for k in z]
        keys = [n for n in range(len(z)) if n != i and labels[n] >= 0 and (views is None or views[n] != views[i])]
        negatives = [n for n in keys if labels[n] not in (y, b)]
        for p in (n for n in keys if labels[n] == b and negatives):
            among = logit[p].exp() + sum(logit[n].exp() for n in negatives)
            terms.append(among.log() - logit[p])
    return torch.stack(terms).mean() if terms else z.sum() * 0, len(terms)


@every(
    case=(
        ([0, 0, 1, 1, 2, 2], [1, 0, 0, 1, 0, 2]),
        ([0, 0, 1, 1, 2, -1], [1, 2, 0, -1, 0, 0]),
        # The second anchor has no negative: all keys are of its two classes.
        ([0, 0, 0, 1], [0, 1, 0, 1]),
        ([0, 0, 0], [0, 0, 0]),
    ),
    images=(False, True),
)
def test_against_a_loop(case, images):
    labels, partner = case
    views = None
    if images:
        labels, partner, views = labels * 2, partner * 2, [0] * len(labels) + [1] * len(labels)
    torch.manual_seed(0)
    loss = Told(3, 4, **SMALL).double()
    loss.partner = partner
    z = torch.nn.functional.normalize(torch.randn(len(labels), 4).double(), dim=1).requires_grad_()
    known = [max(0, y) for y in labels]
    gates = SimLAPLoss.gates(loss, torch.tensor(known), torch.tensor([max(0, b) for b in partner]))
    wanted, count = loop(z, labels, partner, gates, loss.log_scale.exp(), views)
    learned = [z, loss.log_scale, loss.classes.weight]
    by_hand = torch.autograd.grad(wanted, learned, allow_unused=True)
    index = [k % (len(labels) // 2) for k in range(len(labels))] if images else None
    output, _ = judged(loss, z, labels, index)
    assert int(output.terms) == count
    torch.testing.assert_close(output.value, wanted, rtol=1e-11, atol=1e-12)
    leaf = z.detach().requires_grad_()
    index = torch.full((len(labels),), -1) if index is None else torch.tensor(index)
    samples = Samples(leaf, torch.tensor(labels), index)
    value = loss(Comparison(samples, [Segment(samples)], Cosine()), None).value
    found = torch.autograd.grad(value, [leaf, *learned[1:]])
    for one, other in zip(found, by_hand, strict=True):
        other = torch.zeros_like(one) if other is None else other
        if one is found[0]:
            other = other - (other * z.detach()).sum(1, keepdim=True) * z.detach()
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-11)


def test_open_gates_of_the_own_class_are_infonce():
    labels = [0, 0, 1, 1, 2, 1]
    loss = Told(3, 4, temperature=0.2, pairs="identical", **SMALL).double()
    loss.log_scale.data.fill_(torch.tensor(5.0).double().log())
    loss.partner, loss.given = labels, [[1.0] * 4] * 6
    torch.manual_seed(0)
    z = torch.randn(6, 4).double()
    (one, by_one), (other, by_other) = (judged(of, z, labels) for of in (loss, InfoNCELoss(0.2)))
    torch.testing.assert_close(one.value, other.value)
    torch.testing.assert_close(by_one, by_other)
    assert one.terms == other.terms


def drawn(pairs, labels, seed=0, classes=5):
    loss = SimLAPLoss(classes, 2, pairs=pairs, **SMALL)
    found = loss.partners(own_classes(torch.tensor(labels), classes), torch.Generator().manual_seed(seed))
    return [int(b) if known else None for b, known in zip(found.column, found.known, strict=True)]


def test_partners():
    labels = [0, 0, 4, -1, 2, 9, 4]
    assert drawn("identical", labels) == [0, 0, 4, None, 2, None, 4]
    order = torch.randperm(7, generator=torch.Generator().manual_seed(0)).tolist()
    known = [None if y in (-1, 9) else y for y in labels]
    by_hand = [None if known[k] is None else known[order[k]] for k in range(7)]
    assert drawn("arbitrary", labels) == by_hand
    found = [drawn("distinct", labels, seed) for seed in range(200)]
    for place, y in enumerate(known):
        seen = [one[place] for one in found]
        others = {0, 2, 4} - {y}
        assert set(seen) == ({None} if y is None else others)
        assert y is None or all(70 < seen.count(b) < 130 for b in others)
    assert drawn("distinct", [3, 3]) == [None, None]
    assert drawn("distinct", []) == drawn("arbitrary", []) == []
    assert drawn("distinct", [-1, 7]) == [None, None]


def test_a_gate_is_of_two_classes_in_any_order_and_alone():
    loss = SimLAPLoss(4, 3, **SMALL)
    both = loss.gates(torch.tensor([0, 1, 2]), torch.tensor([1, 0, 2]))
    assert torch.equal(both[0], both[1])
    torch.testing.assert_close(loss.gates(torch.tensor([2]), torch.tensor([2])), both[2:])
    assert ((both > 0) & (both < 1)).all()
    output, _ = judged(loss.double(), torch.eye(3).double(), [0, 1, 2])
    assert 0 < output.parts["gate_mean"] < 1
    assert 0 < output.parts["gate_entropy"] <= 1
    assert output.parts["temperature"].item() == pytest.approx(0.1)


def test_the_size_of_a_block_changes_nothing():
    torch.manual_seed(0)
    loss, z = SimLAPLoss(5, 4, **SMALL).double(), torch.randn(300, 4).double()
    labels = [k % 5 for k in range(300)]
    found = []
    for memory_mb in (None, 0.2):
        objective = Objective(Cosine(), AllMiner(), loss, memory_mb=memory_mb)
        moment = Moment(generator=torch.Generator().manual_seed(3))
        found.append(objective(Spaces.of(z, torch.tensor(labels)), moment).output.value)
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("wrong", [{"pairs": "same"}, {"temperature": 0}, {"hidden": 0}, {"class_size": 0}])
def test_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        SimLAPLoss(2, 2, **wrong)
