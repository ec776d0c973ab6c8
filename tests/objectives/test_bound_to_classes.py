"""Which losses have a value on classes that they were not trained for, and so a validation loss."""

import pytest

from metriscope.losses import (
    ArcFaceLoss,
    CenterContrastiveLoss,
    ContrastiveLoss,
    CrossEntropyLoss,
    MarginLoss,
    PeerLoss,
    TripletLoss,
)
from metriscope.objectives.distances.euclidean import Euclidean
from metriscope.objectives.miners.bands import AllMiner
from metriscope.objectives.objective import Objective
from metriscope.objectives.objectives import Objectives
from metriscope.parts import arguments_of
from metriscope.run.history import read_history

BOUND = [ArcFaceLoss(3, 4), CenterContrastiveLoss(3, 4), CrossEntropyLoss(3, 4), MarginLoss(3, 4)]
BOUND += [PeerLoss("MarginLoss", 3, 4), PeerLoss("CosFaceLoss", 3, 4, {"num_classes": 3, "embedding_size": 4})]
FREE = [TripletLoss(), ContrastiveLoss(), MarginLoss(3, 4, beta_per_class=False), MarginLoss(3, 4, learn_beta=False)]
FREE += [PeerLoss("TripletMarginLoss", 3, 4), PeerLoss("MarginLoss", 3, 4, {"num_classes": None})]


def summed(*losses):
    return Objectives([Objective(Euclidean(), AllMiner(), loss) for loss in losses], [1, 1])


def name(loss):
    return type(getattr(loss, "peer", loss)).__name__


@pytest.mark.parametrize("loss", BOUND, ids=name)
def test_what_learns_something_of_each_class_is_bound_to_them(loss):
    assert "num_classes" in arguments_of(type(loss))
    assert loss.bound_to_classes
    assert summed(TripletLoss(), loss).bound_to_classes


@pytest.mark.parametrize("loss", FREE, ids=name)
def test_what_does_not_is_free(loss):
    assert not loss.bound_to_classes
    assert not summed(TripletLoss(), loss).bound_to_classes


@pytest.mark.parametrize(
    ("words", "judged"),
    [
        (("loss.beta_per_class=false",), True),
        (("loss.learn_beta=false",), True),
        ((), False),
        (("dataset.protocol=closed_set",), True),
    ],
)
def test_validation_loss_on_other_classes(run, words, judged):
    outcome = run(
        "loss=margin", "dataset.protocol=class_disjoint", "dataset.classes=12", "trainer.max_epochs=1", *words
    )
    rows = list(read_history(outcome.folder / "metrics.csv"))
    assert any("train/loss" in row for row in rows)
    assert any("val/loss" in row for row in rows) == judged
