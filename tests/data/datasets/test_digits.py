import torch

from metriscope.data.datasets import digits


def test_digits():
    source = digits.load()
    assert (len(source.train), len(source.test)) == (1201, 596)
    assert source.train.shape == (1, 8, 8)
    assert source.train.inputs.dtype == torch.uint8
    assert int(source.train.inputs.max()) == 255
    assert source.train.classes == tuple("0123456789")
    assert torch.equal(digits.load().test.labels, source.test.labels)
