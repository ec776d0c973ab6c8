"""What a step is made of beside its objective, on a GPU that torch pretends: devices agree, and nothing waits."""

from contextlib import contextmanager

import pytest
import torch
from tiny_runs import COMPOSER
from torch._subclasses.fake_tensor import FakeTensorMode

from metriscope.build.run import network_of
from metriscope.config.plain import plain
from metriscope.data.inputs.augment import Augmentation, Planned
from metriscope.diagnostics.activity import pair_activity, pulls_of_slopes
from metriscope.diagnostics.gradients import embedding_norms
from metriscope.diagnostics.spectrum import second_moment
from metriscope.diagnostics.spread import negative_spread
from metriscope.diagnostics.variance import ClassMoments
from metriscope.evaluation.search.half_distances import products
from metriscope.evaluation.search.points import Points
from metriscope.evaluation.search.ranking import pack, smallest
from metriscope.losses import SupConLoss, TripletLoss
from metriscope.objectives.comparison import Comparison, Segment
from metriscope.objectives.distances.euclidean import Euclidean
from metriscope.objectives.samples import Samples
from metriscope.objectives.selection import TripletBand

N, SIZE = 12, 6


@contextmanager
def pretended():
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        yield torch.device("cuda")


@pytest.fixture
def gpu():
    with pretended() as device:
        yield device


def on(device, *tensors):
    assert all(one.device.type == device.type for one in tensors)


@pytest.mark.parametrize(("backbone", "head"), [("small_cnn", "linear"), ("resnet18_cifar", "mlp")])
def test_the_network(backbone, head):
    words = [f"backbone={backbone}", "backbone.weights=null", f"head={head}", "dataset=digits"]
    network = network_of(plain(COMPOSER(words)), (1, 16, 16))
    with pretended() as gpu:
        network.to(gpu)
        for training in (True, False):
            on(gpu, *network.train(training)(torch.empty(4, 1, 16, 16, device=gpu)))


CROPS = [{}, {"crop": "pad", "pad": 2, "flip": True}, {"crop": "random_resized", "size": 8}]


@pytest.mark.parametrize("arguments", CROPS)
def test_augmentation(arguments, gpu):
    part = Augmentation(**arguments, mean=[0.5], std=[0.5]).to(gpu)
    images = torch.zeros(4, 3, 16, 16, dtype=torch.uint8)
    planned = part.plan(images, torch.zeros(4, max(part.width, 1)))
    if isinstance(planned, Planned):
        on(gpu, part(Planned(*(one.to(gpu) for one in planned))))
    else:
        on(gpu, part(planned.to(gpu)))


@pytest.mark.parametrize("loss", [SupConLoss(), TripletLoss()], ids=["supcon", "triplet"])
@pytest.mark.parametrize("hinge", [True, False])
def test_diagnostics_of_a_step(loss, hinge, gpu):
    """The engine's forward-only mode, and the passes over its slopes."""
    labels = torch.zeros(N, dtype=torch.int64, device=gpu)
    batch = Samples.of(torch.empty(N, SIZE, device=gpu), labels)
    comparison = Comparison(batch, [Segment(batch)], Euclidean())
    output = loss(comparison, TripletBand())
    pulls = [pulls_of_slopes(comparison, output.slopes)]
    activity = pair_activity(comparison, pulls, hinge, 1e-3)
    on(gpu, output.value, *activity, *negative_spread(comparison, pulls))
    on(gpu, *(value for value, _ in embedding_norms(batch.embeddings, activity.samples).values()))


def test_moments_of_classes(gpu):
    z, labels = torch.empty(N, SIZE, device=gpu, dtype=torch.float64), torch.zeros(N, dtype=torch.int64, device=gpu)
    moments = ClassMoments.of(z, labels, 3)
    moments.merge(ClassMoments.of(z, labels, 3))
    moments.update(z, labels)
    on(gpu, moments.count, moments.mean, moments.scatter, second_moment(z))


def test_a_tile_of_the_search(gpu):
    """Close pairs, which the host looks for, come after it."""
    rows, half = torch.empty(N, SIZE, device=gpu), torch.empty(N, 1, device=gpu)
    places = torch.zeros(N, dtype=torch.int64, device=gpu)
    points = Points(rows, half, places, rows, places)
    distances = products(points, points, torch.empty(N, N, device=gpu))
    keys = pack(distances, torch.arange(N, device=gpu), torch.empty(N, N, dtype=torch.int64, device=gpu))
    on(gpu, smallest(keys, 3))
