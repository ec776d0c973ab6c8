"""The report of training samples that may have wrong labels."""

import csv

import torch
from torch import tensor

from metriscope.data.examples import Examples
from metriscope.data.label_noise import LabelNoise
from metriscope.data.splits import Splits
from metriscope.losses import InfoNCELoss
from metriscope.objectives.distances.cosine import Cosine
from metriscope.objectives.miners.bands import AllMiner
from metriscope.objectives.objective import Objective
from metriscope.objectives.objectives import Objectives
from metriscope.objectives.weightings.dbpm import DynamicBadPairWeighting
from metriscope.reports.suspects import judgement_of, suspects_measures, write_suspects

TRUE = tensor([0, 0, 1, 1, 0])


def splits(noisy=()):
    train = Examples(torch.zeros(5, 2), TRUE, ("=one", "two"))
    labels = TRUE.clone()
    labels[list(noisy)] = 1 - labels[list(noisy)]
    return Splits(train, None, train, "closed_set", noise=LabelNoise(labels, labels != TRUE) if noisy else None)


def history(losses):
    part = DynamicBadPairWeighting(5, easy=1, hard=1)
    part.history.add("total", torch.arange(len(losses)), tensor(losses))
    part.history.add("count", torch.arange(len(losses)), torch.ones(len(losses)))
    plain = Objective(Cosine(), AllMiner(), InfoNCELoss())
    return judgement_of(Objectives([plain, Objective(Cosine(), AllMiner(), InfoNCELoss(), weighting=part)], [1, 1]))


def rows(tmp_path, *args):
    write_suspects(tmp_path / "suspects.csv", *args)
    with (tmp_path / "suspects.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_samples_by_their_loss_and_how_well_they_are_the_wrong_labels(tmp_path):
    found, data = history([1.0, 4.0, 1.0, 0.0]), splits(noisy=[1, 4])
    written = rows(tmp_path, found, data)
    assert [row["position"] for row in written] == ["1", "0", "2", "3"]
    assert [row["suspect"] for row in written] == ["too hard", "", "", "too easy"]
    assert (written[0]["class"], written[0]["true_class"], written[0]["path"]) == ("two", "'=one", "")
    assert [float(row["mean_loss"]) for row in written] == [4, 1, 1, 0]
    assert float(written[0]["deviations"]) == (4 - 1.5) / 2.25**0.5
    assert suspects_measures(found, data) == {"suspects": 1, "suspects_precision": 1, "suspects_recall": 0.5}


def test_without_a_record_of_noise_or_without_a_suspect(tmp_path):
    found = history([1.0, 4.0, 1.0, 0.0])
    assert rows(tmp_path, found, splits())[0]["true_class"] == ""
    assert suspects_measures(found, splits()) == {"suspects": 1}
    nobody = history([])
    assert rows(tmp_path, nobody, splits()) == []
    assert suspects_measures(nobody, splits(noisy=[1])) == {"suspects": 0, "suspects_recall": 0}


def test_a_run_without_such_a_weighting_has_no_report():
    assert judgement_of(Objective(Cosine(), AllMiner(), InfoNCELoss())) is None
