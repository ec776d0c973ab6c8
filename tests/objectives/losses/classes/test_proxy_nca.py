import torch
from proxy_oracles import LAYOUTS, batch, build, compare

from metriscope.objectives.losses.classes.proxy_nca import ProxyNCALoss


def test_original_proxy_nca_leaves_its_own_class_out():
    """So its value may be negative, and is the other form's with log(e^v - 1)."""
    labels = LAYOUTS["all classes"][:1]
    z = batch(labels)
    original, whole = build("proxy_nca"), build("proxy_nca", include_positive=True)
    value = original(compare(z, labels), None).value
    torch.testing.assert_close(value, whole(compare(z, labels), None).value.expm1().log())
    assert isinstance(original, ProxyNCALoss)
