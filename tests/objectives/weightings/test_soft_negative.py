"""Soft-InfoNCE against the numbers of its page, and where its affinity comes from."""

import numpy as np
import pytest
import torch
from worked_examples import EXACT, FEATURES, LABELS, POINTS, compared, tensor

from metriscope.errors import InputError
from metriscope.losses import InfoNCELoss, TripletLoss
from metriscope.objectives.comparison import Comparison, Segment
from metriscope.objectives.distances.cosine import Cosine
from metriscope.objectives.miners.bands import AllMiner
from metriscope.objectives.objective import Objective
from metriscope.objectives.samples import Samples, Spaces
from metriscope.objectives.selection import Pairs, TripletBand
from metriscope.objectives.weightings.soft_negative import SoftNegativeWeighting

AFFINE = tensor(FEATURES)
PLAIN = 1.180632344869


def judged(part, comparison, selection=None):
    objective = Objective(Cosine(), AllMiner(), InfoNCELoss(0.5), weighting=part)
    return objective.judge(comparison, selection or TripletBand()).output


@pytest.mark.parametrize(
    ("temperature", "weights", "value", "slopes"),
    [
        (1, [1.11659914916, 1.022681852018, 0.922301097158, 0.938417901664], 1.199737846026, {(3, 1): 0.106480067017}),
        (
            0.1,
            [1.332054812816, 1.286541739690, 0.563862104018, 0.817541343476],
            1.304442359304,
            {(3, 1): 0.117160633174, (3, 5): 0.005398571196},
        ),
    ],
)
def test_the_example_of_the_page(temperature, weights, value, slopes):
    part = SoftNegativeWeighting(temperature=temperature)
    _, comparison = compared(affine=AFFINE)
    pairs = part.weigh_pairs(comparison, Pairs(comparison.positive, comparison.negative))
    assert pairs.positive_weights is None
    torch.testing.assert_close(pairs.negative_weights[3, [0, 1, 2, 5]].tolist(), weights, **EXACT)
    output = judged(part, comparison)
    torch.testing.assert_close(output.value.item(), value, **EXACT)
    found = output.slopes(slice(0, 6)).slopes
    for pair, slope in slopes.items():
        torch.testing.assert_close(found[pair].item(), slope, **EXACT)


def test_without_alpha_no_bit_changes():
    plain, weighed = (
        judged(part, compared(affine=AFFINE)[1]) for part in (None, SoftNegativeWeighting(alpha=0.0, temperature=0.3))
    )
    assert torch.equal(plain.value, weighed.value)
    assert torch.equal(plain.slopes(slice(0, 6)).slopes, weighed.slopes(slice(0, 6)).slopes)
    torch.testing.assert_close(plain.value.item(), PLAIN, **EXACT)


def test_the_form_of_the_authors_code_with_positives_on_the_diagonal():
    batch = Samples(tensor(POINTS), torch.arange(6), torch.full((6,), -1), affine=AFFINE)
    comparison = Comparison(batch, [Segment(batch), Segment(batch)], Cosine())
    # A second view of each image is its positive; negatives are those of the batch alone.
    negative = comparison.negative.clone()
    negative[:, 6:] = False
    output = judged(SoftNegativeWeighting(temperature=1.0), comparison, Pairs(comparison.positive, negative))
    torch.testing.assert_close(output.value.item(), 0.797408539264, **EXACT)


def test_one_negative_has_weight_one_and_a_duplicate_of_another_class_the_least():
    _, comparison = compared([0, 0, 0, 0, 0, 1], affine=AFFINE)
    pairs = Pairs(comparison.positive, comparison.negative)
    found = SoftNegativeWeighting().weigh_pairs(comparison, pairs).negative_weights
    assert torch.equal(found[:5], torch.ones(5, 6, dtype=torch.float64))
    features = AFFINE.clone()
    features[3] = features[0]
    _, comparison = compared(affine=features)
    pairs = Pairs(comparison.positive, comparison.negative, None, torch.full((6, 6), 2.0, dtype=torch.float64))
    found = SoftNegativeWeighting(temperature=0.01).weigh_pairs(comparison, pairs).negative_weights
    assert found[0, 3] == 0.2


def table(tmp_path, name, numbers):
    path = tmp_path / name
    if name.endswith(".csv"):
        np.savetxt(path, numbers, delimiter=",")
    elif name.endswith(".npz"):
        np.savez(path, embeddings=numbers)
    else:
        np.save(path, numbers)
    return str(path)


def test_saved_embeddings_and_a_table_of_classes_say_the_affinity(tmp_path):
    saved = table(tmp_path, "saved.npz", AFFINE.numpy())
    z, labels = tensor(POINTS), torch.tensor(LABELS)
    batch = Spaces.of(z, labels, torch.arange(6), trunk=AFFINE)

    def value(**arguments):
        part = SoftNegativeWeighting(3, 6, **arguments)
        return Objective(Cosine(), AllMiner(), InfoNCELoss(0.5), weighting=part)(batch).output.value.item()

    assert value(affinity="saved", table=saved) == pytest.approx(value(), abs=1e-6)
    even = table(tmp_path, "even.csv", np.full((3, 3), 0.5))
    assert value(affinity="classes", table=even) == pytest.approx(PLAIN, abs=1e-9)
    # Classes 0 and 1 are alike: negatives of class 2 are pushed more.
    alike = table(tmp_path, "alike.npy", np.array([[1, 0.5, 0], [0.5, 1, 0], [0, 0, 1]]))
    part = SoftNegativeWeighting(3, 6, affinity="classes", table=alike)
    _, comparison = compared()
    found = part.weigh_pairs(comparison, Pairs(comparison.positive, comparison.negative)).negative_weights
    assert found[0, 5] > 1 > found[0, 3] == found[0, 4]
    objective = Objective(Cosine(), AllMiner(), InfoNCELoss(), weighting=part)
    assert (objective.bound_to_classes, objective.affinity, part.state_dict()) == (True, None, {})
    # Samples of no training set have no affinity.
    part = SoftNegativeWeighting(3, 6, affinity="saved", table=saved)
    assert judged(part, comparison).value.item() == pytest.approx(PLAIN, abs=1e-9)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"alpha": 2.0}, "alpha=2.0: a weight may fall below 0 then; set it to at most beta=1.0"),
        (
            {"affinity": "classes"},
            r"affinity=classes: it needs a file of numbers \(C, C\), .npy or .csv: name it",
        ),
        (
            {"affinity": "saved"},
            r"affinity=saved: it needs a file of embeddings \(N, F\), .npy or .npz: name it",
        ),
        ({"table": "x.npy"}, "table=x.npy: affinity=trunk reads no file; leave it out"),
        ({"affinity": "teacher"}, "affinity=teacher: it has to be one of trunk, classes, saved"),
        ({"affinity": "saved", "table": "gone.npy"}, "table=gone.npy: it cannot be read: No such file"),
        ({"affinity": "saved", "table": "."}, "table=.: it is a folder: name a file"),
        ({"floor": 2.0}, "floor=2.0: it has to be "),
    ],
)
def test_what_it_refuses(arguments, line):
    with pytest.raises(InputError, match=f"^{line}"):
        SoftNegativeWeighting(3, 6, **arguments)


@pytest.mark.parametrize(
    ("source", "numbers", "line"),
    [
        (
            "classes",
            np.zeros((2, 3)),
            r"it holds numbers \(2, 3\); they have to be \(3, 3\), one row and",
        ),
        ("classes", np.full((3, 3), 7.0), "affinities are from -1 to 1; divide them by the largest"),
        ("saved", np.zeros((5, 2)), r"it holds numbers \(5, 2\); they have to be \(6, F\), one row for each training"),
        ("saved", np.full((6, 2), np.nan), "it has to hold finite numbers"),
        ("saved", np.array([object()] * 6), "it holds no numbers that can be read: "),
    ],
)
def test_files_that_say_no_affinity(tmp_path, source, numbers, line):
    path = table(tmp_path, "table.npy", numbers)
    with pytest.raises(InputError, match=f"table.npy: {line}"):
        SoftNegativeWeighting(3, 6, affinity=source, table=path)


def test_damaged_and_foreign_files(tmp_path):
    for name, content in (("a.npz", b"PK\x03\x04 no archive"), ("b.npy", b""), ("c.csv", b"name,other\n1,2\n")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match="it holds no numbers that can be read: "):
            SoftNegativeWeighting(3, 6, affinity="saved", table=str(tmp_path / name))
    np.savez(tmp_path / "d.npz", features=np.zeros((6, 2)))
    with pytest.raises(InputError, match="it has no array embeddings"):
        SoftNegativeWeighting(3, 6, affinity="saved", table=str(tmp_path / "d.npz"))


def test_an_affinity_that_is_not_there_and_a_loss_that_cannot_weigh():
    objective = Objective(Cosine(), AllMiner(), InfoNCELoss(), weighting=SoftNegativeWeighting())
    with pytest.raises(InputError, match="there is no space trunk; the network gives embedding"):
        objective(Spaces.of(tensor(POINTS), torch.tensor(LABELS)))
    with pytest.raises(InputError, match="TripletLoss cannot use weights of pairs"):
        Objective(Cosine(), AllMiner(), TripletLoss(), weighting=SoftNegativeWeighting())
