"""MV-InfoNCE and MV-DHEL against loops over groups, and worked values; groups by class and by image."""

import pytest
import torch
from combinations import every
from loop_oracles import CASES, DTYPES, hold, hold_form
from oracles import Account, mean
from worked_examples import LABELS, POINTS, compared, hold_example, tensor

from metriscope.losses import MVDHELLoss, MVInfoNCELoss
from metriscope.objectives.distances.cosine import Cosine
from metriscope.objectives.losses.softmax.multi_view import groups_of
from metriscope.objectives.samples import Samples

WORKED = {
    "infonce": (
        MVInfoNCELoss(),
        0.871137848171,
        {(0, 3): 0.110322533732, (0, 1): -0.179459561183, (3, 4): -0.316963365386},
    ),
    # The page puts the slope of a pair of views, -1, on the earlier one; here both rows have half of it.
    "dhel": (MVDHELLoss(), 0.704115636657, {(0, 3): 0.957710228158, (3, 4): -0.5, (4, 3): -0.5}),
    "dhel, all": (MVDHELLoss(negatives="all"), 2.125606119299, {(0, 3): 0.743300237112}),
}
# Samples, their labels, and the values of both losses, which are those of the authors' code.
BALANCED = {
    "2 x 2": ([0, 1, 3, 4], [0, 0, 1, 1], 0.900093131032, 0.8),
    "2 x 3": ([0, 1, 2, 3, 4, 5], [0, 0, 0, 1, 1, 1], 0.737353919872, -0.649045978214),
}


@pytest.mark.parametrize(("loss", "value", "slopes"), WORKED.values(), ids=WORKED)
def test_worked_example(loss, value, slopes):
    assert int(hold_example(loss, value, slopes).terms) == 2


@pytest.mark.parametrize(("samples", "labels", "infonce", "dhel"), BALANCED.values(), ids=BALANCED)
def test_worked_example_of_equal_groups(samples, labels, infonce, dhel):
    for loss, value in ((MVInfoNCELoss(), infonce), (MVDHELLoss(), dhel)):
        hold_example(loss, value, {}, comparison=compared(labels, points=tensor(POINTS)[samples]))


def groups(rows):
    """Lists of (row, views, what is pushed, place in the group) of those that count; a memory holds no views."""
    found = {}
    for i, (row, positives, negatives) in enumerate(rows):
        views = [p for p in positives if p < len(rows)]
        found.setdefault(min([i, *views]), []).append((row, views, negatives, sum(p < i for p in views)))
    return [g for g in found.values() if len(g) > 1]


def infonce(rows):
    terms = []
    for group in groups(rows):
        if any(negatives for _, _, negatives, _ in group):
            up = sum((row[p] / 0.3).exp() for row, views, _, _ in group for p in views)
            every_pair = sum((row[j] / 0.3).exp() for row, views, others, _ in group for j in views + others)
            terms.append(-(up / every_pair).log())
    return Account(mean(terms), len(terms), len(terms))


def dhel(same_view, repulsion):
    def oracle(rows):
        places = [sum(p < i for p in positives if p < len(rows)) for i, (_, positives, _) in enumerate(rows)]
        terms = []
        for group in groups(rows):
            up = sum((row[p] / 0.3).exp() for row, views, _, _ in group for p in views) / 2
            pushes = []
            for row, _, others, place in group:
                partners = [n for n in others if not same_view or (n < len(rows) and places[n] == place)]
                if partners:
                    pushes.append(sum((row[n] / 0.3).exp() for n in partners).log())
            if pushes:
                terms.append(-up.log() + sum(pushes) / (len(pushes) if repulsion == "mean" else 1))
        return Account(mean(terms), len(terms), len(terms))

    return oracle


LOSSES = {
    "infonce": (MVInfoNCELoss(0.3), infonce),
    "same view": (MVDHELLoss(0.3), dhel(True, "sum")),
    "all": (MVDHELLoss(0.3, "all", "mean"), dhel(False, "mean")),
}


@pytest.mark.parametrize("name", LOSSES)
@every(layout=CASES, dtype=DTYPES)
def test_against_the_loop(name, layout, dtype):
    hold(*LOSSES[name], layout, dtype)


@pytest.mark.parametrize("name", LOSSES)
def test_form(name):
    hold_form(LOSSES[name][0])


def test_groups():
    def found(labels, index, views):
        batch = Samples.of(torch.zeros(len(labels), 1), torch.tensor(labels), torch.tensor(index))
        own, place = groups_of(batch, views)
        return [own.tolist().index(one) for one in own.tolist()], place.tolist()

    labels, twice = [0, 1, 0, 0, 1, 0], [7, 3, 8, 7, 3, 8]
    by_class, by_image = ([0, 1, 0, 0, 1, 0], [0, 0, 1, 2, 1, 3]), ([0, 1, 2, 0, 1, 2], [0, 0, 0, 1, 1, 1])
    assert found(labels, twice, "classes") == by_class
    assert found(labels, twice, "images") == found(labels, twice, None) == by_image
    # One image that is there once, by itself or without a place in the training set, makes classes of all.
    assert found(labels, [7, 3, 8, 7, 3, 9], None) == found(labels, [7, 3, -1, 7, 3, -1], None) == by_class
    assert found([0, 0, 1], [-1, -1, -1], "images")[0] == [0, 1, 2]
    assert found([0, -1, 0], [5, 2, 5], None)[0] == [0, 1, 0]


@pytest.mark.parametrize("loss", [MVInfoNCELoss(), MVDHELLoss()])
def test_views_of_images_are_the_classes_of_labels_that_name_images(loss):
    z, index = tensor(POINTS), torch.tensor([4, 2, 4, 2, 9, 9])
    wanted = loss(z, index, distance=Cosine())
    assert torch.equal(loss(z, index, distance=Cosine(), index=index), wanted)


def test_another_image_of_the_class_is_neither_pulled_nor_pushed():
    loss, labels = MVInfoNCELoss(), torch.tensor([0, 0, 0, 0, 1, 1])
    z, index = tensor(POINTS), torch.tensor([4, 4, 2, 2, 9, 9])
    output = loss.account(z.requires_grad_(), labels, distance=Cosine(), index=index)
    slopes = output.slopes(slice(0, 6)).slopes
    assert int(output.terms) == 3
    assert not slopes[:2, 2:4].any()
    assert not slopes[2:4, :2].any()
    assert (slopes[:4, 4:] > 0).all()


def test_a_batch_of_classes_alone_is_what_labels_say():
    assert torch.equal(
        MVInfoNCELoss(views="classes")(tensor(POINTS), torch.tensor(LABELS), distance=Cosine()),
        MVInfoNCELoss()(tensor(POINTS), torch.tensor(LABELS), distance=Cosine()),
    )
