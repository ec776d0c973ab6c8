"""PALM: the worked example, the page step by step, and what of the prototypes moves when."""

import pytest
import torch
from combinations import every

from metriscope.errors import InputError
from metriscope.losses import PALMLoss
from metriscope.objectives.distances.cosine import Cosine
from metriscope.objectives.losses.classes.palm import balanced
from metriscope.objectives.losses.classes.proxies import own_classes
from metriscope.objectives.miners.bands import AllMiner
from metriscope.objectives.objective import Objective
from metriscope.objectives.samples import Spaces

Z4 = torch.tensor([[1, 0], [0.8, 0.6], [0, 1], [-0.6, 0.8]], dtype=torch.float64)
P0 = torch.tensor([[1, 0], [0, 1], [0.6, 0.8], [-1, 0]], dtype=torch.float64)
PAGE = {"epsilon": 0.5, "temperature": 0.5, "momentum": 0.9}


def built(prototypes=P0, classes=2, **arguments):
    loss = PALMLoss(classes, prototypes.shape[1], len(prototypes) // classes, **{**PAGE, **arguments}).double()
    loss.prototypes.copy_(prototypes)
    return loss


def step(loss, z=Z4, labels=(0, 0, 1, 1)):
    """The output, and the gradient by embeddings, of a step with its commitment."""
    z = z.detach().clone().requires_grad_()
    output = Objective(Cosine(), AllMiner(), loss).train(loss.training)(Spaces.of(z, torch.tensor(labels))).output
    return output, torch.autograd.grad(output.value, z)[0]


def close(found, wanted, digits):
    found = found.tolist() if isinstance(found, torch.Tensor) else found
    assert found == pytest.approx(wanted, abs=0.6 * 10**-digits)


@pytest.mark.parametrize(
    ("top", "value", "likelihood", "contrast", "slope"),
    [
        (0, 1.75982271151, 0.97744328435, 0.78237942716, 0.0460273824),
        (1, 1.57160429406, 0.74749771133, 0.82410658273, 0.1409296181),
    ],
)
def test_the_worked_example(top, value, likelihood, contrast, slope):
    loss = built(top=top)
    output, gradient = step(loss)
    close(output.value.item(), value, 11)
    close(output.parts["loss_likelihood"].item(), likelihood, 11)
    close(output.parts["loss_prototypes"].item(), contrast, 11)
    # Along the first axis, where z lies, the page's gradient is that of a dot product.
    close(gradient[0, 1].item(), slope, 10)
    assert (int(output.terms), int(output.active)) == (4, 4)
    if not top:
        close(loss.prototypes[0], [0.9997291273, 0.0232738478], 10)
        alone = step(built(top=0))[1] - step(built(top=0, prototype_weight=0))[1]
        close(alone[0, 1].item(), 0.0100336542, 10)


def sinkhorn(z, p, eps, iterations=3):
    """The matrix of the page, (J, B) times B."""
    q = (z @ p.T / eps).exp().T
    q = q / q.sum()
    for _ in range(iterations):
        q = q / q.sum(1, keepdim=True) / len(q)
        q = q / q.sum(0, keepdim=True) / len(z)
    return (q * len(z)).T


def by_the_page(z, labels, p, classes, *, top, eps, t, m, weight, t_p=0.5):
    """Value, and the prototypes after the step."""
    of_class = torch.arange(len(p)) % classes
    mask = (torch.tensor(labels)[:, None] == of_class).double()
    u = mask * sinkhorn(z, p, eps).detach()
    if top:
        u = u * torch.zeros_like(u).scatter(1, u.topk(top, 1).indices, 1)
    kept = (u > 0).double()
    u = u / u.sum(1, keepdim=True)
    sums = u.sum(0, keepdim=True)
    u = u / torch.where(sums > 0, sums, 1)
    p = torch.nn.functional.normalize(m * p + (1 - m) * u.T @ z, dim=1)
    w = kept * sinkhorn(z, p, eps).detach()
    w = w / w.sum(1, keepdim=True)
    logits = z @ p.detach().T / t
    likely = (logits.exp().sum(1).log() - (w * logits).sum(1)).mean()
    between, terms = p @ p.T / t_p, []
    for j in range(len(p)):
        own = [k for k in range(len(p)) if k != j and of_class[k] == of_class[j]]
        pull = between[j, own].mean() if own else 0
        terms.append(between[j, [k for k in range(len(p)) if k != j]].exp().sum().log() - pull)
    return likely + weight * torch.stack(terms).mean(), p.detach()


@every(shape=((3, 4), (4, 1), (1, 3)), top=(0, 2), eps=(0.05, 0.5))
def test_against_the_page(shape, top, eps):
    classes, per_class = shape
    torch.manual_seed(classes + per_class)
    z, p = (torch.nn.functional.normalize(torch.randn(n, 5).double(), dim=1) for n in (9, classes * per_class))
    labels = [0, 0, 0, 1, 1, 0, 0, 1, 1] if classes > 1 else [0] * 9  # of three classes, one is absent
    loss = built(p, classes, top=top, epsilon=eps, temperature=0.2, momentum=0.95, prototype_weight=0.7)
    leaf = z.clone().requires_grad_()
    top = min(top, per_class)
    wanted, after = by_the_page(leaf, labels, p, classes, top=top, eps=eps, t=0.2, m=0.95, weight=0.7)
    output, gradient = step(loss, z, labels)
    torch.testing.assert_close(output.value, wanted, rtol=1e-11, atol=1e-12)
    by_hand = torch.autograd.grad(wanted, leaf)[0]
    tangent = by_hand - (by_hand * z).sum(1, keepdim=True) * z
    torch.testing.assert_close(gradient, tangent, rtol=1e-8, atol=1e-11)
    torch.testing.assert_close(loss.prototypes, after, rtol=1e-11, atol=1e-12)
    if classes > 1:
        absent = torch.arange(len(p)) % classes > 1
        assert torch.equal(loss.prototypes[absent], p[absent])


def test_a_single_prototype_has_nothing_beside_it():
    output, gradient = step(built(P0[:1], 1), labels=[0] * 4)
    assert output.value == output.parts["loss_prototypes"] == 0
    assert not gradient.any()


def test_small_temperatures_of_the_assignment_do_not_overflow():
    own = own_classes(torch.tensor([0, 0, 1, 1, 5]), 2)
    z = torch.cat([Z4, -Z4[:1]]).float()
    scales = balanced(z @ P0.float().T / 1e-4, own.known, 3)
    exact = balanced((Z4 @ P0.T / 1e-4), own.known[:4], 3)
    torch.testing.assert_close(scales.double(), exact, rtol=1e-5, atol=0)
    output, gradient = step(built(epsilon=1e-6))
    assert output.value.isfinite()
    assert gradient.isfinite().all()


def test_prototypes_move_once_in_a_step_of_the_training_alone():
    loss = built(top=0)
    wanted = by_the_page(Z4, [0, 0, 1, 1], P0, 2, top=0, eps=0.5, t=0.5, m=0.9, weight=1)[1]
    step(loss)
    torch.testing.assert_close(loss.prototypes, wanted)
    before = loss.prototypes.clone()
    output, _ = step(loss.eval())
    assert torch.equal(loss.prototypes, before)
    torch.testing.assert_close(
        output.value, by_the_page(Z4, [0, 0, 1, 1], before, 2, top=0, eps=0.5, t=0.5, m=1, weight=1)[0]
    )
    assert not list(loss.parameters())


def test_what_the_checkpoint_holds_goes_on_bit_by_bit():
    loss, again = built(), built(P0.roll(1, 0))
    step(loss)
    again.load_state_dict(loss.state_dict())
    for one, other in zip(step(loss), step(again), strict=True):
        assert torch.equal(getattr(one, "value", one), getattr(other, "value", other))
    assert torch.equal(again.prototypes, loss.prototypes)


def test_a_sample_of_no_class_has_no_mass():
    among, alone = built(), built()
    output, gradient = step(among, torch.cat([-Z4[:1], Z4]), [7, 0, 0, 1, 1])
    wanted, by_z = step(alone)
    torch.testing.assert_close(output.value, wanted.value)
    torch.testing.assert_close(gradient[1:], by_z)
    torch.testing.assert_close(among.prototypes, alone.prototypes)
    assert not gradient[0].any()


def test_bfloat16_embeddings_move_float32_prototypes():
    loss = PALMLoss(2, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = Objective(Cosine(), AllMiner(), loss)(Spaces.of(Z4.bfloat16(), torch.tensor([0, 0, 1, 1]))).output
    assert output.value.isfinite()
    torch.testing.assert_close(loss.prototypes.norm(dim=1), torch.ones(8))


@pytest.mark.parametrize("wrong", [{"epsilon": 0}, {"momentum": 1.1}, {"top": -1}, {"prototypes_per_class": 0}])
def test_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        PALMLoss(2, 2, **wrong)
