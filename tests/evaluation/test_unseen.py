"""AUROC of unseen classes: against scikit-learn and loops, and what runs take for seen and unseen."""

import math

import pytest
import torch
from sklearn.covariance import ledoit_wolf
from sklearn.metrics import roc_auc_score
from tiny_runs import COMPOSER

from metriscope.config.rules import check
from metriscope.errors import InputError
from metriscope.evaluation.embedded import EvaluatedSet, References
from metriscope.evaluation.set_metric import build_metrics
from metriscope.evaluation.unseen import auroc, class_model, distance_to_nearest, held_out, unseen_auroc


def clouds(counts, size=4, seed=0, apart=3.0):
    """Samples of classes around random means."""
    source = torch.Generator().manual_seed(seed)
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    means = torch.randn(len(counts), size, generator=source) * apart
    return means[labels] + torch.randn(len(labels), size, generator=source), labels


@pytest.mark.parametrize("levels", [2, 7, 10**6])
def test_auroc_is_that_of_scikit_learn_with_ties_as_half(levels):
    source = torch.Generator().manual_seed(levels)
    inside, outside = (torch.randint(levels, (n,), generator=source).double() for n in (60, 41))
    truth, scores = torch.tensor([0] * 60 + [1] * 41), torch.cat([inside, outside + 0.2 * levels // 1])
    assert auroc(inside, scores[60:]) == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)


def test_auroc_at_its_ends():
    low, high = torch.tensor([0.0, 1.0]), torch.tensor([2.0, math.inf])
    assert (auroc(low, high), auroc(high, low), auroc(low, low)) == (1.0, 0.0, 0.5)
    assert math.isnan(auroc(low, low[:0]))
    assert math.isnan(auroc(low[:0], low))


@pytest.mark.parametrize(("counts", "size"), [([30, 20, 1], 3), ([4, 3], 12)], ids=["many", "fewer than dimensions"])
def test_the_model_of_classes_is_that_of_a_loop_with_the_covariance_of_scikit_learn(counts, size):
    z, labels = clouds(counts, size)
    means = torch.stack([z[labels == c].double().mean(0) for c in range(len(counts))])
    covariance, shrinkage = ledoit_wolf((z.double() - means[labels]).numpy(), assume_centered=True)
    model = class_model(z, labels)
    assert model.shrinkage == pytest.approx(shrinkage, rel=1e-9)
    asking = torch.cat([z[:5], torch.randn(6, size)])
    inverse = torch.linalg.inv(torch.tensor(covariance))
    wanted = [min(float((x - m) @ inverse @ (x - m)) for m in means) for x in asking.double()]
    torch.testing.assert_close(model.distances(asking).tolist(), wanted, rtol=1e-8, atol=1e-8)


def test_classes_that_have_collapsed_are_compared_as_they_lie():
    z, labels = torch.tensor([[0.0, 0], [0, 0], [1, 0], [1, 0]]), torch.tensor([5, 5, 8, 8])
    model = class_model(z, labels)
    assert model.distances(torch.tensor([[0.0, 2], [3, 0]])).tolist() == [4, 4]
    assert unseen_auroc(z, labels, z, z + 9) == (1.0, 1.0)
    assert unseen_auroc(z, labels, z, z) == (0.5, 0.5)


def test_both_are_the_areas_of_their_distances():
    z, labels = clouds([20, 30, 25])
    inside, outside = clouds([5, 5, 5], seed=1)[0], clouds([12], seed=2, apart=1)[0]
    truth = [0] * 15 + [1] * 12
    asking = torch.cat([inside, outside])
    nearest = [min(float((x - k).square().sum()) for k in z) for x in asking]
    torch.testing.assert_close(distance_to_nearest(asking, z).tolist(), nearest, rtol=1e-5, atol=1e-6)
    by_model, by_nearest = unseen_auroc(z, labels, inside, outside)
    assert by_model == pytest.approx(roc_auc_score(truth, class_model(z, labels).distances(asking).float()))
    assert by_nearest == pytest.approx(roc_auc_score(truth, nearest))
    assert all(map(math.isnan, unseen_auroc(z, labels, inside, outside[:0])))
    assert all(map(math.isnan, unseen_auroc(z[:0], labels[:0], inside, outside)))


def test_of_each_class_every_fifth_sample_is_held_out():
    labels = torch.tensor([1, 0] * 11 + [4] * 4)
    assert held_out(labels).nonzero().flatten().tolist() == [8, 9, 18, 19]
    assert not held_out(labels[:0]).any()


def test_what_a_run_compares():
    (one,) = build_metrics({"metrics": {"ood": {"_target_": "metriscope.metrics.OOD"}}})
    assert one.asked.at_end
    z, labels = clouds([15, 15])
    others, theirs = clouds([10], seed=3)
    closed = EvaluatedSet(z[::2], labels[::2], references=References(z[1::2], labels[1::2]), distractors=others)
    names = ("ood_auroc_mahalanobis", "ood_auroc_nearest")
    assert tuple(one.of(closed).values()) == unseen_auroc(z[1::2], labels[1::2], z[::2], others)
    assert one.of(closed._replace(distractors=None)) == {}
    disjoint = EvaluatedSet(others, theirs, references=References(z, labels), seen=False)
    inside = held_out(labels)
    assert one.of(disjoint) == dict(
        zip(names, unseen_auroc(z[~inside], labels[~inside], z[inside], others), strict=True)
    )


def test_a_closed_set_without_images_of_other_classes_is_refused():
    words = ["dataset=digits", "dataset.protocol=closed_set", "evaluation.metrics.ood=true"]
    line = r"evaluation\.metrics\.ood needs images of classes that training has not seen: give a folder of them"
    with pytest.raises(InputError, match=line):
        check(COMPOSER(words))
    check(COMPOSER([*words[:1], "dataset.protocol=class_disjoint", words[2]]))
