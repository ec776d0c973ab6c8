import torch
from torch import nn
from trunks import described

from metriscope.models.backbones import build_trunk
from metriscope.models.trunk import Body, Trunk


def cnn(seed: int = 0, **changes: object) -> Trunk:
    torch.manual_seed(seed)
    return build_trunk(described("small_cnn", **{"widths": [4, 8], **changes}), (3, 16, 16))


def test_fingerprint_is_the_same_for_the_same_features() -> None:
    first = cnn().fingerprint()
    assert len(bytes.fromhex(first)) == 32
    assert first == cnn().fingerprint() == cnn(channels_last=True).fingerprint() == cnn(freeze=True).fingerprint()
    net = cnn()
    net.eval()(torch.randn(2, 3, 16, 16))
    assert net.fingerprint() == first


def test_fingerprint_changes_with_any_weight_statistic_or_layer() -> None:
    prints = [cnn().fingerprint(), cnn(seed=1).fingerprint()]
    for name in cnn().state_dict():
        net = cnn()
        with torch.no_grad():
            net.state_dict()[name].view(-1)[-1:] += 1
        prints.append(net.fingerprint())
    prints.append(cnn().to(torch.bfloat16).fingerprint())
    # The same weights, in networks that compute something else.
    prints += [cnn(stem_kernel_size=3).fingerprint(), Trunk(Body(nn.ReLU(), 4)).fingerprint()]
    prints.append(Trunk(Body(nn.LeakyReLU(), 4)).fingerprint())
    assert len(set(prints)) == len(prints)
