import torch
from proxy_oracles import CLASSES, LAYOUTS, SIZE, batch, compare, gradients

from metriscope.objectives.losses.classes.proxy_anchor import ProxyAnchorLoss


def test_sharp_proxy_anchor_does_not_overflow():
    labels = LAYOUTS["all classes"]
    z = batch(labels, torch.float32)
    value = ProxyAnchorLoss(CLASSES, SIZE, alpha=400.0)(compare(z, labels), None).value
    assert value.isfinite()
    assert gradients(value, [z])[0].isfinite().all()
