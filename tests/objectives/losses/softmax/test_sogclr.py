"""SogCLR and iSogCLR: worked examples, a slow loop with its state, and what of the state is written when."""

import pytest
import torch
from combinations import every
from oracles import embeddings
from row_oracles import DTYPES, LABELLED, LAYOUTS, Account, hold, mean, some_pairs

from metriscope.errors import InputError
from metriscope.losses import DecoupledContrastiveLoss, ISogCLRLoss, SogCLRLoss
from metriscope.objectives.distances.cosine import Cosine
from metriscope.objectives.miners.bands import AllMiner
from metriscope.objectives.objective import Objective
from metriscope.objectives.samples import Spaces

Z4 = [[1, 0], [0.8, 0.6], [0, 1], [-0.6, 0.8]]
Y4 = [0, 0, 1, 1]
PAGE = {"temperature": 0.5, "gamma": 0.8, "rho": 0.3, "beta": 0.9, "eta": 0.03}


def step(loss, z=Z4, labels=Y4, index=None, training=True):
    """The output, and the gradient, of a step with its commitment."""
    z = torch.as_tensor(z, dtype=loss.state.log_mean.dtype).requires_grad_()
    objective = Objective(Cosine(), AllMiner(), loss).train(training)
    index = torch.arange(len(z)) if index is None else torch.tensor(index)
    output = objective(Spaces.of(z, torch.tensor(labels), index)).output
    return output, torch.autograd.grad(output.value, z)[0]


def close(found, wanted, digits=10):
    found = found.tolist() if isinstance(found, torch.Tensor) else found
    assert found == pytest.approx(wanted, abs=0.6 * 10**-digits)


def test_the_worked_example():
    loss = ISogCLRLoss(4, **PAGE).double()
    output, gradient = step(loss)
    close(output.value.item(), -0.56493235661)
    # Along the first axis, where z lies, the page's gradient is that of a dot product.
    close(gradient[0, 1].item(), 0.04259008660)
    close(loss.state.log_mean, [-0.42986471321, 0.77013528679, 0.77013528679, -0.42986471321])
    close(loss.state.temperature, [0.49600655024] * 4)
    close(loss.state.drift, [0.13311499192] * 4)
    close(output.parts["negative_divergence"].item(), 0.15209445342)
    assert output.parts["estimate_lag"] == 0
    assert output.parts["temperature"] == 0.5
    assert (int(output.terms), int(output.active)) == (4, 4)
    close(output.slopes(slice(0, 1)).slopes[0] * 4, [0, -1, 0.768525, 0.231475], digits=6)
    z = torch.tensor(Z4, dtype=torch.float64)
    close((output.slopes(slice(0, 4)).slopes * (z @ z.T)).sum().item(), -0.63888512990)
    output, gradient = step(loss)
    close(output.value.item(), -0.56577588963)
    close(gradient[0, 1].item(), 0.04186274080)
    close(loss.state.temperature[:2], [0.49166082461, 0.49174685799])


def loop(s, positive, negative, temperatures, means, gamma, rho):
    """Value with the gradient of the surrogate, and u and g of the anchors, as the page has them."""
    terms, us, gs = [], {}, {}
    for i in (i for i in range(len(positive)) if positive[i] and negative[i]):
        t, u = temperatures[i], means[i]
        now = sum((s(i, n).detach() / t).exp() for n in negative[i]) / len(negative[i])
        u = now if u is None else (1 - gamma) * u + gamma * now
        weights = [(s(i, n).detach() / t).exp() / u / len(negative[i]) for n in negative[i]]
        pull = sum(s(i, p) for p in positive[i]) / len(positive[i])
        push = sum(w * s(i, n) for w, n in zip(weights, negative[i], strict=True))
        objective = t * (u.log() + rho) - pull
        terms.append(objective.detach() + (push - pull) - (push - pull).detach())
        us[i], gs[i] = u, u.log() + rho - push.detach() / t
    return terms, us, gs


def oracle(batch):
    """Of samples that nothing is remembered of."""
    count = len(batch.z)
    terms, _, _ = loop(batch.similarity, batch.positive, batch.negative, [0.5] * count, [None] * count, 0.8, 0.3)
    return Account(mean(terms), len(terms), len(terms))


@every(labels=LAYOUTS, dtype=DTYPES, memory=(False, True))
def test_layouts(labels, dtype, memory):
    hold(ISogCLRLoss(**PAGE).to(dtype), oracle, labels, "cosine", dtype, memory)


def test_of_mined_pairs():
    hold(ISogCLRLoss(**PAGE).double(), oracle, LABELLED, "cosine", torch.float64, pairs=some_pairs())


def test_against_the_loop_over_three_steps():
    labels, loss = [0, 0, 1, 1, 1, 2], ISogCLRLoss(9, **PAGE).double()
    us, drifts, temperatures = {}, dict.fromkeys(range(9), 0.0), dict.fromkeys(range(9), 0.5)
    for seed, index in enumerate(([0, 1, 2, 3, 4, 5], [8, 1, 2, 6, 4, 5], [0, 1, 2, 3, 4, 7])):
        z = embeddings(labels, seed=seed)
        unit = torch.nn.functional.normalize(z, dim=1)
        positive = [[j for j in range(6) if j != i and labels[j] == labels[i]] for i in range(6)]
        negative = [[j for j in range(6) if labels[j] != labels[i]] for i in range(6)]
        own = [temperatures[k] for k in index]
        before = [us.get(k) for k in index]
        s = lambda i, j, unit=unit: unit[i] @ unit[j]  # noqa: E731
        terms, found, gs = loop(s, positive, negative, own, before, 0.8, 0.3)
        output, gradient = step(loss, z.detach(), labels, index)
        torch.testing.assert_close(output.value, mean(terms), rtol=1e-12, atol=0)
        torch.testing.assert_close(gradient, torch.autograd.grad(mean(terms), z)[0], rtol=1e-9, atol=1e-12)
        for i, u in found.items():
            k = index[i]
            us[k] = u
            drifts[k] = 0.1 * drifts[k] + 0.9 * min(3.0, max(-3.0, float(gs[i])))
            temperatures[k] = min(0.7, max(0.05, temperatures[k] - 0.03 * drifts[k]))
        close(loss.state.temperature, list(temperatures.values()), digits=12)
        close(loss.state.drift, list(drifts.values()), digits=12)
        close(loss.state.log_mean.exp(), [float(us.get(k, 0)) for k in range(9)], digits=12)
    # The only sample of its class never counted.
    assert set(us) == {0, 1, 2, 3, 4, 6, 8}


def test_without_steps_of_the_temperatures_it_is_sogclr():
    still, plain = ISogCLRLoss(4, 0.5, rho=0, eta=0).double(), SogCLRLoss(4, 0.5).double()
    for _ in range(2):
        (one, by_one), (other, by_other) = (step(loss) for loss in (still, plain))
        assert torch.equal(one.value, other.value)
        assert torch.equal(by_one, by_other)
    assert torch.equal(still.state.log_mean, plain.state.log_mean)
    assert set(plain.state_dict()) == {"state.log_mean"}


def test_of_the_batch_alone_the_gradient_is_that_of_the_decoupled_loss():
    labels = [0, 0, 0, 1, 1, 1, 2, 2, 2]
    loss, z = SogCLRLoss(9, 0.3, gamma=1).double(), embeddings(labels).detach()
    for _ in range(2):
        _, gradient = step(loss, z, labels)
    leaf = z.requires_grad_()
    DecoupledContrastiveLoss(0.3)(leaf, torch.tensor(labels), distance=Cosine()).backward()
    torch.testing.assert_close(gradient, 0.3 * leaf.grad, rtol=1e-10, atol=1e-12)


def test_repeats_share_the_average():
    z, labels = torch.tensor([[1.0, 0], [0.8, 0.6], [0, 1], [-0.6, 0.8]]).double(), [0, 0, 1, 1]
    alone, repeated = (ISogCLRLoss(4, **PAGE).double() for _ in range(2))
    step(alone, z, labels)
    step(repeated, z, labels, [2, 2, 1, -1])
    u, g = alone.state.log_mean.exp(), alone.state.drift / 0.9
    close(repeated.state.log_mean[[2, 1]].exp(), [float(u[:2].mean()), float(u[2])])
    close(repeated.state.drift[[2, 1]], [float(0.9 * g[:2].mean()), float(0.9 * g[2])])
    close(repeated.state.temperature[2], float(0.5 - 0.03 * 0.9 * g[:2].mean()))
    for untouched in (0, 3):
        assert repeated.state.log_mean[untouched] == -torch.inf
        assert repeated.state.temperature[untouched] == 0.5


def test_what_is_read_outside_of_training():
    loss = ISogCLRLoss(6, **PAGE).double()
    step(loss)
    loss.state.temperature[1] = 0.2
    left = {name: value.clone() for name, value in loss.state_dict().items()}
    seen, _ = step(loss, training=False)
    unseen, _ = step(loss, index=[5, 4, -1, -1], training=False)
    mean_temperature = float(loss.state.temperature.mean())
    assert seen.parts["temperature"].item() == pytest.approx(float(loss.state.temperature[:4].mean()))
    assert unseen.parts["temperature"].item() == pytest.approx(mean_temperature)
    assert unseen.parts["estimate_lag"] == 0
    fresh, _ = step(ISogCLRLoss(**{**PAGE, "temperature": mean_temperature}).double())
    assert unseen.value.item() == pytest.approx(fresh.value.item(), rel=1e-7)
    for name, value in loss.state_dict().items():
        assert torch.equal(value, left[name])
    # A new sample of the training begins where all began.
    assert step(loss, index=[5, 4, 5, 4])[0].parts["temperature"] == 0.5


def test_a_resumed_run_goes_on_exactly():
    loss, other = (ISogCLRLoss(4, **PAGE) for _ in range(2))
    step(loss)
    other.load_state_dict(loss.state_dict())
    for one, again in zip(step(loss), step(other), strict=True):
        assert torch.equal(getattr(one, "value", one), getattr(again, "value", again))
    for name, value in loss.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, other.state_dict()[name])


@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [0, 1, 2, 3], [-1, -1, -1, -1]])
def test_batches_without_terms_leave_the_state(labels):
    loss = ISogCLRLoss(4, **PAGE)
    before = {name: value.clone() for name, value in loss.state_dict().items()}
    output, gradient = step(loss, labels=labels)
    assert output.value == 0
    assert not gradient.any()
    assert all(torch.equal(value, before[name]) for name, value in loss.state_dict().items())


def test_small_temperatures_stay_finite():
    loss, z = SogCLRLoss(4, temperature=0.005), torch.tensor(Z4)
    for one in (z, z[[0, 0, 0, 0]], -z):
        output, gradient = step(loss, one)
        assert output.value.isfinite()
        assert gradient.isfinite().all()
    assert loss.state.log_mean.isfinite().all()


def test_without_a_training_set_nothing_is_remembered():
    loss = SogCLRLoss(temperature=0.5, gamma=0.5).double()
    one, other = step(loss, index=[0, 1, 70, 71])[0], step(loss, torch.tensor(Z4)[[0, 2, 1, 3]], [0, 1, 0, 1])[0]
    assert one.value.item() == pytest.approx(other.value.item())
    assert loss.state.log_mean.tolist() == [-torch.inf]


def test_a_temperature_out_of_bounds_is_one_line():
    with pytest.raises(InputError, match=r"^temperature=0\.01: it has to be between temperature_min=0\.05 and temp"):
        ISogCLRLoss(temperature=0.01)
    with pytest.raises(InputError, match="gamma=0"):
        SogCLRLoss(gamma=0.0)
