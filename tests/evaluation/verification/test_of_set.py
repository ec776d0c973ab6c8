"""Verification against sklearn's curve of all pairs, order statistics by sorting, and loops over classes."""

import math
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from forks import on_ranks
from sklearn.metrics import roc_auc_score, roc_curve
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from metriscope.errors import InputError
from metriscope.evaluation.embedded import EvaluatedSet
from metriscope.evaluation.set_metric import asked_metrics, build_metrics
from metriscope.evaluation.verification import curve as curves
from metriscope.evaluation.verification import scores, tiled
from metriscope.evaluation.verification.curve import PairCurve
from metriscope.evaluation.verification.listed import PairList, read_pairs
from metriscope.evaluation.verification.of_set import Verification
from metriscope.objectives.distributed import ranks

SETS = ("all pairs", "ties", "duplicates", "one class and singles", "queries", "list", "list that contradicts")
SHIPPED = "metriscope.evaluation.shipped"
NAMES = {
    "tar_at_far": "TARAtFAR",
    "eer": "EER",
    "d_prime": "DPrime",
    "best_threshold": "BestThreshold",
    "threshold_inconsistency": "ThresholdInconsistency",
    "pair_auc": "PairAUC",
}


def drawn(name: str, count: int = 90) -> tuple[Tensor, Tensor, Tensor | None, PairList | None]:
    """Embeddings, labels, queries and list of a set."""
    source = torch.Generator().manual_seed(SETS.index(name))
    labels = torch.randint(6, (count,), generator=source) * 3 + 2
    z = torch.randn(count, 5, generator=source) + 0.7 * torch.randn(20, 5, generator=source)[labels]
    queries = pairs = None
    if name == "ties":
        z = torch.randint(-1, 2, (count, 3), generator=source).float()
    if name == "duplicates":
        z = z[torch.randint(12, (count,), generator=source)]
    if name == "one class and singles":
        labels = torch.where(torch.arange(count) < 9, 1, torch.arange(count) + 5)
    if name == "queries":
        queries = torch.rand(count, generator=source) < 0.3
        labels[queries.nonzero()[0]] = 99
    if name.startswith("list"):
        first, second = torch.randint(count, (2, 400), generator=source)
        first, second = first[first != second], second[first != second]
        same = torch.rand(len(first), generator=source) < 0.4
        pairs = PairList(first, second, same if "contradicts" in name else None)
    return z, labels, queries, pairs


def by_hand(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of every pair the cosine as a multiple of 1 / GRID, whether it is positive, and its two classes."""
    z, labels, queries, pairs = drawn(name)
    unit = z.double() / z.double().norm(dim=1, keepdim=True).clamp(min=1e-300)
    if pairs is not None:
        left, right = pairs.first, pairs.second
    elif queries is not None:
        left, right = (queries[:, None] & ~queries).nonzero().T
    else:
        left, right = torch.triu_indices(len(z), len(z), 1)
    same = labels[left] == labels[right]
    if pairs is not None and pairs.same is not None:
        same = pairs.same
    cosines = ((unit[left] * unit[right]).sum(1) * scores.GRID).round() / scores.GRID
    return cosines.numpy(), same.numpy(), torch.stack([labels[left], labels[right]]).numpy()


@pytest.fixture(params=[1024, 16], ids=["one tile", "tiles"])
def tiles(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a coarse grid: that of the package has millions of counters, which take most of the time."""
    monkeypatch.setattr(tiled, "SIDE", request.param)
    monkeypatch.setattr(scores, "GRID", 2**14)


@pytest.mark.usefixtures("tiles")
@pytest.mark.parametrize("name", SETS)
def test_the_curve_is_that_of_all_pairs(name: str) -> None:
    check_curve(name)


@pytest.mark.parametrize("name", ["all pairs", "list"])
def test_the_curve_on_the_grid_of_the_package(name: str) -> None:
    check_curve(name)


def check_curve(name: str) -> None:
    z, labels, queries, pairs = drawn(name)
    curve = Verification(z, labels, queries, pairs).curve
    cosines, same, _ = by_hand(name)
    far, tar, thresholds = roc_curve(same, cosines, drop_intermediate=False)
    np.testing.assert_allclose(curve.cosines.numpy(), thresholds[1:], atol=1e-12)
    np.testing.assert_allclose(curve.far.numpy(), far[1:], atol=1e-12)
    np.testing.assert_allclose(curve.tar.numpy(), tar[1:], atol=1e-12)
    assert curve.auc == pytest.approx(roc_auc_score(same, cosines), abs=1e-12)

    negative = np.sort(cosines[~same])[::-1]
    for share in (1e-1, 1e-2, 0.29, 0.5, 0.999):
        allowed = curve.allowed(share)
        limit = negative[allowed] if allowed < len(negative) else -2
        assert curve.tar_at(share) == (cosines[same] > limit).mean(), share
        threshold = curve.threshold_at(share)
        assert (negative >= threshold - 1e-12).sum() <= allowed < (negative >= limit - 1e-12).sum()
        assert ((cosines[same] >= threshold - 1e-12) == (cosines[same] > limit)).all()

    gain = tar - far
    assert curve.best.accuracy == pytest.approx((1 + gain.max()) / 2, abs=1e-12)
    assert curve.best.threshold == pytest.approx(thresholds[gain.argmax()], abs=1e-12)
    positive = cosines[same]
    spread = math.sqrt((positive.var() + negative.var()) / 2)
    assert curve.d_prime == pytest.approx((positive.mean() - negative.mean()) / spread, abs=1e-9)
    grid = np.linspace(0, 1, 200_001)  # where the polygon of the curve meets TAR = 1 - FAR
    crossing = grid[np.argmin(abs(np.interp(grid, far, tar) - (1 - grid)))]
    assert curve.eer == pytest.approx(crossing, abs=1e-3)
    assert 1 - np.interp(curve.eer, far, tar) == pytest.approx(curve.eer, abs=1e-9) or np.isin(curve.eer, far).any()
    drawn_points = np.array(curve.points())
    assert len(drawn_points) <= 202
    assert (drawn_points[-1, 1:] == 1).all()
    assert {tuple(row) for row in drawn_points} <= set(
        zip(curve.cosines.tolist(), curve.far.tolist(), curve.tar.tolist(), strict=True)
    )


@pytest.mark.usefixtures("tiles")
@pytest.mark.parametrize("name", SETS)
def test_class_rates_are_those_of_loops_over_classes(name: str) -> None:
    z, labels, queries, pairs = drawn(name)
    found = Verification(z, labels, queries, pairs).rates((0.5, 0.05))
    cosines, same, classes = by_hand(name)
    assert found is not None
    utilities = []
    for label in labels.unique().tolist():
        # A positive pair counts once, for the class of its first sample; a negative pair for both of its classes.
        positive = cosines[same & (classes[0] == label)]
        negative = np.concatenate([cosines[~same & (side == label)] for side in classes])
        if not len(positive) or not len(negative):
            assert label not in found.labels
            continue
        row = found.labels.tolist().index(label)
        far = [(negative >= d - 1e-12).mean() for d in found.thresholds.tolist()]
        frr = [(positive < d - 1e-12).mean() for d in found.thresholds.tolist()]
        np.testing.assert_allclose(found.far[row], far, atol=1e-12)
        np.testing.assert_allclose(found.frr[row], frr, atol=1e-12)
        a, b = 1 - np.array(far), 1 - np.array(frr)
        utilities.append(np.divide(2 * a * b, a + b, out=np.zeros_like(a), where=a + b > 0))
        best = found.thresholds.numpy()[utilities[-1] >= utilities[-1].max() - 1e-12].max()
        assert found.best()[row] == pytest.approx(best)
    assert len(found.labels) == len(utilities)
    value = Verification(z, labels, queries, pairs).inconsistency((0.05, 0.5))
    if len(utilities) < 2:
        assert math.isnan(value)
    else:
        assert value == pytest.approx(np.var(utilities, axis=0).mean(), abs=1e-12)


def test_the_scores_of_a_list_are_those_of_all_pairs() -> None:
    z, labels, _, _ = drawn("all pairs")
    left, right = torch.triu_indices(len(z), len(z), 1)
    every, listed = Verification(z, labels), Verification(z, labels, pairs=PairList(right, left, None))
    for name in ("places", "positive", "negative"):
        assert torch.equal(getattr(every.curve, name), getattr(listed.curve, name))
    assert every.inconsistency((0.1, 0.5)) == listed.inconsistency((0.1, 0.5))


class Made(TorchDispatchMode):
    """Notes the most numbers of a tensor that is made anew."""

    most = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        known = {one.untyped_storage().data_ptr() for one in tree_leaves(args) if isinstance(one, Tensor)}
        found = func(*args, **(kwargs or {}))
        made = [
            one.numel()
            for one in tree_leaves(found)
            if isinstance(one, Tensor) and one.untyped_storage().data_ptr() not in known
        ]
        self.most = max(self.most, *made, 0)
        return found


def test_a_curve_whose_scores_all_occur_makes_no_vector_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scores, "GRID", 2**14)
    monkeypatch.setattr(curves, "_BLOCK", 2**8)
    positive = 1 + torch.arange(2**15 + 2) % 7
    negative = positive.flip(0).contiguous()
    with Made() as made:
        curve = PairCurve(positive, negative)
        figures = curve.tar_at(1e-2), curve.eer, curve.auc, curve.d_prime, curve.best, curve.points()
        most = made.most
        assert len(curve.places) == 2**15 + 1
    assert most <= 2**8 < 2**15 < made.most, "those over all scores are seen"
    assert figures[:3] == pytest.approx((0.01, 0.5, 0.5), abs=1e-3)


def test_what_a_set_does_not_allow_is_left_out() -> None:
    section = {key: {"_target_": f"{SHIPPED}.{part}"} for key, part in NAMES.items()}
    z, labels, _, _ = drawn("all pairs")

    def of(*members: Tensor) -> dict[str, float]:
        return {
            key: value for one in build_metrics({"metrics": section}) for key, value in one.of(whole(*members)).items()
        }

    def whole(z: Tensor, labels: Tensor) -> EvaluatedSet:
        return EvaluatedSet(z, labels, pairs=Verification(z, labels))

    with pytest.warns(UserWarning, match=r"FAR 0.0001 is finer than 1 in 3,\d+, the negative pairs"):
        found = of(z, labels)
    expected = {"tar_at_far_1e_2", "tar_at_far_1e_3", "eer", "d_prime", "best_threshold", "pair_accuracy", "pair_auc"}
    assert found.keys() == expected
    assert not any(math.isnan(value) for value in found.values())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for members in ((z, labels * 0), (z, torch.arange(len(z))), (z[:1], labels[:1])):
            assert of(*members) == {}, "no negative, no positive, or no pair at all"
        collapsed = of(z[:1].expand(300, 5), torch.arange(300) % 3)
    assert collapsed["eer"] == collapsed["pair_auc"] == collapsed["pair_accuracy"] == 0.5
    assert collapsed["tar_at_far_1e_2"] == 0
    assert "d_prime" not in collapsed
    assert collapsed["threshold_inconsistency"] == 0


def test_metrics_of_a_set_share_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    z, labels, _, _ = drawn("all pairs")
    passes = []
    whole = tiled.TiledPairs.counted
    monkeypatch.setattr(tiled.TiledPairs, "counted", lambda self: passes.append(1) or whole(self))
    evaluated = EvaluatedSet(z, labels, pairs=Verification(z, labels))
    assert evaluated.verified().known is None
    for one in build_metrics({"metrics": {key: {"_target_": f"{SHIPPED}.{part}"} for key, part in NAMES.items()}}):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            one.of(evaluated)
    assert len(passes) == 1
    assert evaluated.verified().known is evaluated.verified().curve


class OfThree:
    """One of three processes, whose counts stay its own."""

    world = 3

    def __init__(self, rank: int) -> None:
        self.rank, self.sent = rank, list[int]()

    def reduce(self, counts: Tensor) -> None:
        self.sent.append(counts.numel())


@pytest.mark.parametrize("name", ["all pairs", "queries"])
def test_each_process_counts_the_pairs_of_its_tiles(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scores, "GRID", 2**10)
    monkeypatch.setattr(tiled, "SIDE", 16)
    monkeypatch.setattr(tiled, "SHARED_TILES", 5)
    monkeypatch.setattr(tiled, "_SENT", 500)
    z, labels, queries, _ = drawn(name)
    whole = tiled.TiledPairs(z, labels, queries)
    edges = torch.tensor([900, 1100, 1300])
    wanted, found = [*whole.counted(), *whole.by_class(edges)[2:4]], []
    for rank in range(3):
        whole.ranks = OfThree(rank)
        found.append([*whole.counted(), *whole.by_class(edges)[2:4]])
        assert max(whole.ranks.sent) == 500
        assert sum(whole.ranks.sent) == 2 * (2**11 + 2) + found[-1][2].numel() + found[-1][3].numel()
    for one, parts in zip(wanted, zip(*found, strict=True), strict=True):
        assert torch.equal(sum(parts), one)
        assert all(0 < part.sum() < one.sum() for part in parts)
    whole.ranks = OfThree(0)
    monkeypatch.setattr(tiled, "SHARED_TILES", 99)
    assert torch.equal(whole.counted()[0], wanted[0]), "too few tiles to share"
    assert not whole.ranks.sent


def _verify(folder: Path) -> None:
    torch.distributed.init_process_group("gloo")
    z, labels, _, pairs = drawn("list")
    found = []
    for listed in (None, pairs):
        verification = Verification(z, labels, pairs=listed)
        with verification.shared(ranks()):
            inconsistency = verification.inconsistency((0.05, 0.5))
        curve = verification.curve
        found.append((inconsistency, curve.places, curve.positive, curve.negative))
    if torch.distributed.get_rank() == 0:
        assert Verification(z, labels).curve, "without the others"
    torch.save(found, folder / f"{torch.distributed.get_rank()}.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_find_what_one_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiled, "SIDE", 16)
    monkeypatch.setattr(tiled, "SHARED_TILES", 5)
    monkeypatch.setattr(scores, "GRID", 2**12)
    on_ranks(lambda: _verify(tmp_path))
    z, labels, _, pairs = drawn("list")
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for listed, (inconsistency, *counts) in zip((None, pairs), found, strict=True):
            alone = Verification(z, labels, pairs=listed)
            assert inconsistency == alone.inconsistency((0.05, 0.5))
            for name, count in zip(("places", "positive", "negative"), counts, strict=True):
                assert torch.equal(count, getattr(alone.curve, name))


def test_far_is_a_power_of_ten() -> None:
    def asked(far: list[float]) -> list[str]:
        section = {"metrics": {"tar_at_far": {"_target_": f"{SHIPPED}.TARAtFAR", "far": far}}}
        return [figure.key for one in asked_metrics(section) for figure in one.figures]

    assert asked([1e-2, 0.000001, 1e-2]) == ["tar_at_far_1e_2", "tar_at_far_1e_6"]
    for wrong, why in (([0.05], "power of ten"), ([0.0], "far"), ([1.0], "far"), ([], "far")):
        with pytest.raises(InputError, match=why):
            asked(wrong)


def test_a_list_is_read_by_file_or_position(tmp_path) -> None:
    file = tmp_path / "pairs.csv"
    file.write_text("image_b,image_a,same\na/1.jpg,b/2.jpg,1\na/1.jpg,a/3.jpg,Different\n")
    found = read_pairs(file, ["a/1.jpg", "b/2.jpg", "a/3.jpg"], 3)
    assert (found.first.tolist(), found.second.tolist()) == ([1, 2], [0, 0])
    assert found.same is not None
    assert found.same.tolist() == [True, False]
    file.write_text("image_a,image_b\n0,2\n2,1\n")
    found = read_pairs(file, None, 3)
    assert (found.first.tolist(), found.second.tolist(), found.same) == ([0, 2], [2, 1], None)
    with pytest.warns(UserWarning, match="1 of 2 listed pairs are left out of verification"):
        kept = found.among(torch.tensor([1, 2]))
    assert (kept.first.tolist(), kept.second.tolist()) == ([1], [0]), "rows of what was evaluated alone"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("first,second\n0,1\n", "lacks the column image_a and image_b: .* it names first, second"),
        ("", "lacks the column .* it names none"),
        ("image_a,image_b\n", "holds no pairs"),
        ("image_a,image_b\na.jpg,c.jpg\n", "line 2: the test part has no image 'c.jpg'"),
        ("image_a,image_b\na.jpg\n", "line 2: the test part has no image ''"),
        ("image_a,image_b\na.jpg,b.jpg\nb.jpg,b.jpg\n", "line 3 pairs b.jpg with itself"),
        ("image_a,image_b,same\na.jpg,b.jpg,perhaps\n", "line 2: same is 'perhaps'; it has to be 1, same or true"),
    ],
)
def test_a_bad_list_is_one_line(tmp_path, text: str, said: str) -> None:
    file = tmp_path / "pairs.csv"
    file.write_text(text)
    with pytest.raises(InputError, match=said) as raised:
        read_pairs(file, ["a.jpg", "b.jpg"], 2, key="evaluation.pairs")
    assert str(raised.value).startswith("evaluation.pairs=")
    assert "\n" not in str(raised.value)


def test_a_list_that_is_no_file_or_names_no_position(tmp_path) -> None:
    with pytest.raises(InputError, match=r"^evaluation\.pairs=.*none\.csv: there is no such file; give a CSV file"):
        read_pairs(tmp_path / "none.csv", None, 3, key="evaluation.pairs")
    with pytest.raises(InputError, match=r"is a folder; give a CSV file"):
        read_pairs(tmp_path, None, 3)
    (tmp_path / "odd.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"cannot be read as a CSV file of pairs: .*utf-8"):
        read_pairs(tmp_path / "odd.csv", None, 3)
    file = tmp_path / "pairs.csv"
    file.write_text("image_a,image_b\n0,3\n")
    with pytest.raises(InputError, match=r"'3' is no sample of the test part, .* positions from 0 to 2"):
        read_pairs(file, None, 3)
