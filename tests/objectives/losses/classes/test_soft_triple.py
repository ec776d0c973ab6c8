"""The regulariser that draws the centres of a class together."""

import torch
from proxy_oracles import CLASSES, LAYOUTS, SIZE, batch, build, compare

from metriscope.objectives.losses.classes.soft_triple import SoftTripleLoss

LABELS = LAYOUTS["all classes"]


def test_reported_without_its_weight():
    loss, z = build("soft_triple"), batch(LABELS)
    plain = build("soft_triple", regularizer_weight=0.0)
    output, without = loss(compare(z, LABELS), None), plain(compare(z, LABELS), None)
    torch.testing.assert_close(output.value - without.value, 0.2 * output.parts["regularizer"])
    assert without.parts == {}


def test_equal_centres_cost_nothing_and_stay_finite():
    loss = SoftTripleLoss(CLASSES, SIZE, centers_per_class=4)
    with torch.no_grad():
        loss.proxies.copy_(loss.proxies[:CLASSES].repeat(4, 1))
    spread = loss.spread()
    assert float(spread.detach()) < 1e-3
    assert torch.autograd.grad(spread, loss.proxies)[0].isfinite().all()


def test_opposite_centres_cost_one():
    loss = SoftTripleLoss(CLASSES, SIZE, centers_per_class=2)
    with torch.no_grad():
        loss.proxies[CLASSES:] = -loss.proxies[:CLASSES]
    torch.testing.assert_close(loss.spread(), torch.tensor(1.0))
