import torch
from combinations import every
from pytorch_metric_learning import losses as peers
from row_oracles import DTYPES, LAYOUTS, MEMORY, Account, hold, mean

from metriscope.losses import InstanceLoss
from metriscope.objectives.distances.cosine import Cosine

GAMMA = 8.0


def oracle(batch):
    """Every sample against all, the first of its class among them its target."""
    known = [*batch.labels, *MEMORY[: len(batch.references) - len(batch.labels)]]
    columns = [j for j, label in enumerate(known) if label >= 0]
    terms = []
    for i, label in enumerate(batch.labels):
        if len(columns) > 1:
            every = sum(torch.exp(GAMMA * (1 - batch.distances[i][j])) for j in columns)
            terms.append(every.log() - GAMMA * (1 - batch.distances[i][known.index(label)]))
    return Account(mean(terms), len(terms), len(terms))


@every(labels=LAYOUTS, dtype=DTYPES, memory=(False, True))
def test_layouts(labels, dtype, memory):
    hold(InstanceLoss(GAMMA), oracle, labels, "cosine", dtype, memory)


def random_batch(size):
    return torch.randn(size, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(size)).requires_grad_()


def test_equal_to_pytorch_metric_learning():
    z, labels = random_batch(8), torch.tensor([0, 3, 5, 3, 5, 0, 0, 3])
    value, wanted = InstanceLoss()(z, labels, distance=Cosine()), peers.InstanceLoss()(z, labels)
    torch.testing.assert_close(value, wanted, rtol=1e-9, atol=0)
    found, expected = (torch.autograd.grad(one, z)[0] for one in (value, wanted))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_the_order_of_samples_and_of_labels_does_not_matter():
    z, labels = random_batch(8), torch.tensor([0, 3, 5, 3, 5, 0, 0, 3])
    value = InstanceLoss()(z, labels, distance=Cosine())
    # Classes change places, each with its first sample first.
    order = torch.tensor([2, 1, 4, 0, 3, 7, 5, 6])
    torch.testing.assert_close(InstanceLoss()(z[order], labels[order], distance=Cosine()), value)
    torch.testing.assert_close(InstanceLoss()(z, 9 - labels, distance=Cosine()), value)
