"""Usage of prototypes: by a count of single samples, of each loss that has them, and what a run makes of it."""

import math

import pytest
import torch
from combinations import every

from metriscope.callbacks.greediness import GreedinessMonitor
from metriscope.diagnostics.prototypes import PrototypeUsage
from metriscope.errors import InputError
from metriscope.losses import PALMLoss, SoftTripleLoss, SubCenterArcFaceLoss, TripletLoss
from metriscope.objectives.distances.cosine import Cosine
from metriscope.objectives.miners.bands import AllMiner
from metriscope.objectives.objective import Objective
from metriscope.objectives.objectives import Objectives
from metriscope.objectives.samples import Spaces

LABELS = [0, 0, 0, 1, 1, 2, -1, 2, 9, 0]


def by_hand(vectors, z, labels, classes, per_class):
    """Of the nearest vector of each sample's class."""
    chosen = {c: [] for c in range(classes)}
    for x, y in zip(z, labels, strict=True):
        if 0 <= y < classes:
            chosen[y].append(max(range(per_class), key=lambda k: float(x @ vectors[k * classes + y])))
    seen = [places for places in chosen.values() if places]
    shares = [[places.count(k) / len(places) for k in range(per_class)] for places in seen]
    entropies = [-sum(p * math.log(p) for p in row if p) / math.log(per_class) for row in shares]
    dead = [p == 0 for row in shares for p in row]
    return {"prototype_entropy": sum(entropies) / len(seen), "prototypes_dead": sum(dead) / len(dead)}


@every(loss=(PALMLoss, SoftTripleLoss, SubCenterArcFaceLoss), summed=(False, True))
def test_what_a_batch_uses(loss, summed):
    torch.manual_seed(0)
    built, z = loss(4, 5, **{name: 3 for name in loss.__init__.__annotations__ if "per_class" in name}), []
    objective = Objective(Cosine(), AllMiner(), built).eval()
    if summed:
        objective = Objectives([Objective(Cosine(), AllMiner(), TripletLoss()), objective], [1, 1]).eval()
    usage = PrototypeUsage()
    for _ in range(2):
        z.append(torch.nn.functional.normalize(torch.randn(len(LABELS), 5), dim=1))
        usage.observe(objective(Spaces.of(z[-1], torch.tensor(LABELS))))
    vectors = built.prototypes if loss is PALMLoss else built.proxies.detach()
    vectors = torch.nn.functional.normalize(vectors, dim=1)
    wanted = by_hand(vectors, torch.cat(z), LABELS * 2, 4, 3)
    assert usage.measures() == pytest.approx(wanted)
    assert 0 < wanted["prototype_entropy"] < 1


def test_even_and_dead():
    usage = PrototypeUsage()
    assert usage.measures() == {}
    # Columns: first and second vector of two classes.
    similarities = torch.tensor([[1.0, 0, 0, 9], [0, 9, 1, 0]])
    usage.add(similarities, torch.tensor([0, 0]), 2)
    assert usage.measures() == {"prototype_entropy": 1, "prototypes_dead": 0}
    usage.add(similarities, torch.tensor([1, -1]), 2)
    assert usage.measures() == {"prototype_entropy": 0.5, "prototypes_dead": 0.25}
    usage.reset()
    assert usage.measures() == {}


def test_the_counts_of_an_epoch_go_with_the_checkpoint():
    one, other, plain = (GreedinessMonitor(prototype_usage=on) for on in (True, True, None))
    one.usage.add(torch.randn(6, 4), torch.tensor([0, 1, 1, 0, 0, 1]), 2)
    other.load_state_dict(one.state_dict())
    assert torch.equal(other.usage.counts, one.usage.counts)
    plain.load_state_dict(one.state_dict())
    assert plain.state_dict().keys() == {"averages", "previous"}


def test_a_run_logs_them_of_an_epoch(run):
    words = ("trainer.max_epochs=1", "trainer.limit_train_batches=2", "loss=palm")
    metrics = run(*words, "diagnostics.greediness.prototype_usage=true").metrics
    assert 0 < metrics["train/prototype_entropy"] <= 1
    assert 0 <= metrics["train/prototypes_dead"] < 1
    assert metrics["train/loss"] == pytest.approx(
        metrics["train/loss_likelihood"] + metrics["train/loss_prototypes"], rel=1e-5
    )


def test_a_loss_with_one_vector_of_each_class_is_refused(run):
    line = r"prototype_usage=true needs a loss with several vectors for each class: choose loss=palm"
    with pytest.raises(InputError, match=line):
        run("loss=triplet", "trainer.max_epochs=1", "diagnostics.greediness.prototype_usage=true")
