import pytest
import torch

from metriscope.data.datasets import synthetic
from metriscope.errors import InputError


def test_synthetic_has_the_variances_asked_for():
    source = synthetic.load(classes=12, per_class=400, dimension=16, intra=3.0, inter=2.0)
    vectors, labels = source.train.inputs.double(), source.train.labels
    means = torch.stack([vectors[labels == c].mean(0) for c in range(12)])
    intra = torch.stack([(vectors[labels == c] - means[c]).square().sum(1).mean() for c in range(12)]).mean()
    inter = (means - means.mean(0)).square().sum(1).mean()
    assert float(intra) == pytest.approx(3.0, rel=0.05)
    assert float(inter) == pytest.approx(2.0, rel=0.05)
    exact = synthetic.load(classes=5, per_class=1, dimension=8, intra=0, inter=0.7).train.inputs
    assert float((exact - exact.mean(0)).square().sum(1).mean()) == pytest.approx(0.7)
    assert exact.norm(dim=1).std() < 1e-6
    assert torch.equal(exact, synthetic.load(classes=5, per_class=1, dimension=8, intra=0, inter=0.7).test.inputs)


def test_synthetic_depends_on_its_own_seed():
    small = {"classes": 3, "per_class": 4, "dimension": 5}
    one = synthetic.load(**small)
    assert torch.equal(one.train.inputs, synthetic.load(**small).train.inputs)
    assert not torch.equal(one.train.inputs, one.test.inputs)
    assert not torch.equal(one.train.inputs, synthetic.load(**small, data_seed=1).train.inputs)
    projected = synthetic.load(**small, project=True).train.inputs
    torch.testing.assert_close(projected.norm(dim=1), torch.ones(12))


@pytest.mark.parametrize("wrong", [{"classes": 1}, {"per_class": 0}, {"dimension": 1}, {"intra": -1}, {"inter": 0}])
def test_synthetic_refuses(wrong):
    with pytest.raises(
        InputError, match=r"^(classes|per_class|dimension|intra|inter)=-?\d+: it has to be a (whole )?number"
    ):
        synthetic.load(**wrong)
