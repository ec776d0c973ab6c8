"""The bank of centres: who moves, where to, and when not."""

import torch
from proxy_oracles import CLASSES, SIZE, batch, build, compare
from torch.nn.functional import normalize

from metriscope.objectives.output import Account
from metriscope.objectives.samples import Moment

LABELS = [0, 0, 3, -1, 0, 99]


def by_hand(centers, z, labels, momentum):
    moved = centers.clone()
    for c in range(CLASSES):
        members = [x / x.norm() for x, y in zip(z, labels, strict=True) if y == c]
        if members:
            new = momentum * centers[c] + (1 - momentum) * torch.stack(members).mean(0)
            moved[c] = new / new.norm()
    return moved


def judge(loss, z, labels):
    """A step of a run: the loss, then what the loss learns from it."""
    comparison = compare(z, labels)
    output = loss(comparison, None)
    if loss.training:
        loss.observe(Account(comparison, None, output, loss), Moment())
    return output


def test_centres_move_towards_their_class_after_the_batch_was_judged():
    loss, z = build("center_contrastive", momentum=0.7), batch(LABELS)
    before = loss.centers.clone()
    value = judge(loss, z, LABELS).value
    torch.testing.assert_close(loss.centers, by_hand(before, z.detach(), LABELS, 0.7))
    assert torch.equal(loss.centers[[1, 2, 4]], before[[1, 2, 4]])
    loss.centers.copy_(before)
    torch.testing.assert_close(loss.eval()(compare(z, LABELS), None).value, value)


def test_gradient_is_that_of_the_centres_that_judged():
    still, moving = build("center_contrastive").eval(), build("center_contrastive")
    z = batch(LABELS)
    grads = [torch.autograd.grad(judge(loss, z, LABELS).value, z)[0] for loss in (still, moving)]
    torch.testing.assert_close(*grads, rtol=0, atol=0)


def test_eval_mode_leaves_the_bank_alone():
    loss = build("center_contrastive").eval()
    before = loss.centers.clone()
    judge(loss, batch(LABELS), LABELS)
    assert torch.equal(loss.centers, before)


def test_the_bank_is_in_the_checkpoint_and_not_learned():
    loss = build("center_contrastive")
    judge(loss, batch(LABELS), LABELS)
    assert not list(loss.parameters())
    restored = build("center_contrastive", momentum=0.2)
    restored.load_state_dict(loss.state_dict())
    assert torch.equal(restored.centers, loss.centers)


def test_learned_centres_are_parameters_that_the_forward_pass_leaves_alone():
    loss = build("center_contrastive, learned")
    before = loss.centers.detach().clone()
    judge(loss, batch(LABELS), LABELS)
    assert [name for name, _ in loss.named_parameters()] == ["centers"]
    assert torch.equal(loss.centers, before)


def test_no_momentum_is_the_mean_direction_and_full_momentum_stands_still():
    z = batch([2, 2])
    loss = build("center_contrastive", momentum=0.0)
    judge(loss, z, [2, 2])
    torch.testing.assert_close(loss.centers[2], normalize(normalize(z.detach(), dim=1).mean(0), dim=0))
    loss = build("center_contrastive", momentum=1.0)
    before = loss.centers.clone()
    judge(loss, z, [2, 2])
    torch.testing.assert_close(loss.centers, before)


def test_parts_add_up():
    output = build("center_contrastive")(compare(batch(LABELS), LABELS), None)
    torch.testing.assert_close(output.parts["loss_contrast"] + output.parts["loss_center"], output.value.detach())


def test_bfloat16_embeddings_move_a_float32_bank():
    loss = build("center_contrastive", torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        judge(loss, batch(LABELS, torch.bfloat16), LABELS)
    assert loss.centers.dtype == torch.float32
    torch.testing.assert_close(loss.centers.norm(dim=1), torch.ones(CLASSES))
    assert loss.centers.shape == (CLASSES, SIZE)
