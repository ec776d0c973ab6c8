"""Both sides of every benchmark agree. Times are never asserted."""

import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest
import torch
from benchmarks import (
    average,
    beside,
    busy,
    chunks,
    compare,
    comparing,
    contests,
    diagnostics,
    evaluation,
    hyperbolic,
    input,
    kernels,
    limits,
    losses,
    measuring,
    mixtures,
    mnist,
    photographs,
    ranks,
    serving,
    table,
    variance,
    verification,
)

from metriscope.config.across import ACROSS
from metriscope.config.files import choices
from metriscope.config.objective import shipped
from metriscope.objectives.distributed import Ranks

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
LOSSES = shipped("loss")

pytest.importorskip("pytorch_metric_learning")


@pytest.mark.parametrize("layout", comparing.LAYOUTS)
@pytest.mark.parametrize("name", contests.CONTESTS)
def test_values_and_gradients_agree_where_definitions_do(name: str, layout: str) -> None:
    if comparing.peer_refusal(name, 48, layout):
        with pytest.raises(ValueError, match="same number of elements"):
            comparing.agreement(name, 48, layout)
        return
    found = comparing.agreement(name, 48, layout, torch.float64)
    if contests.CONTESTS[name].differs:
        assert max(found) > comparing.TOLERANCE[torch.float32][0], "the stated difference is not there: drop it"


def test_a_disagreement_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = contests.CONTESTS["contrastive, squared"]
    monkeypatch.setitem(contests.CONTESTS, "wrong", contests.Contest(changed.overrides, changed.peer))
    with pytest.raises(AssertionError, match="wrong"):
        comparing.agreement("wrong", 24, "10 classes")


def test_all_losses_of_the_peer_are_met() -> None:
    """Those that a config of ours names; what the peer has alone is taken through its adapter."""
    met = {override for contest in contests.CONTESTS.values() for override in contest.overrides}
    alone = {
        "cacr", "center_contrastive", "cross_entropy", "cwcl", "decoupled_contrastive", "groco", "isogclr",
        "mann_whitney", "mv_dhel", "mv_infonce", "palm", "pcr", "proto_triplet", "sigmoid", "simple_contrastive",
        "simlap", "sogclr", "unpg", "vicreg",
    }  # fmt: skip
    assert {name for name in LOSSES if f"loss={name}" not in met} == alone


def test_pairs_and_triplets_are_counted_by_class() -> None:
    labels = torch.tensor([0, 0, 0, 1, 1, 2])
    pairs = [(i, j, bool(labels[i] == labels[j])) for i in range(6) for j in range(6) if i != j]
    triplets = [(a, p, n) for a, p, same in pairs if same for b, n, other in pairs if a == b and not other]
    positives = sum(same for _, _, same in pairs)
    assert contests.sizes(labels) == (6, positives, len(pairs) - positives, len(triplets))


def test_a_peer_that_needs_too_much_is_skipped() -> None:
    assert not comparing.peer_refusal("triplet, all", 512, "10 classes")
    assert "MiB" in comparing.peer_refusal("triplet, all", 2048, "10 classes")
    assert "MiB" in comparing.peer_refusal("infonce", 512, "10 classes")
    assert not comparing.peer_refusal("contrastive, plain", 2048, "10 classes")


def test_a_line_says_where_the_peer_is_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    times = measuring.Times(2, 2), measuring.Times(1, 1)
    result = comparing.Comparison(comparing.Agreement(0, 0), *times)
    monkeypatch.setattr(losses, "isolated", lambda function, *given: 1 if function is comparing.memory else result)
    shown = table.Table([("", 1)] * 9, names=2)
    assert losses._row(shown, "circle", 128, "10 classes", 0) == ["circle in time (10 classes, 128)"]


def test_retrieval_metrics_agree() -> None:
    metrics, times = evaluation.compare(evaluation.Layout(200, 32, 10), 1)
    assert times.keys() == metrics.keys() == {"ours", *evaluation.PEERS}
    assert 0 < metrics["ours"]["map_at_r"] < 1
    with pytest.raises(AssertionError, match="differ"):
        evaluation.difference(metrics["ours"], {**metrics["ours"], "map_at_r": 0.0})


def test_recall_agrees_with_faiss() -> None:
    pytest.importorskip("faiss")
    recalls, different, times = evaluation.compare_with_faiss(evaluation.Layout(600, 64, 20), 1)
    assert times.keys() == recalls.keys() == {"ours", "faiss"}
    assert different <= 6
    assert recalls["ours"] == pytest.approx(recalls["faiss"], abs=different / 600 + 1e-12)
    assert 0 < recalls["ours"]["recall_at_1"] < recalls["ours"]["recall_at_8"] < 1


def test_photographs_are_served_as_they_were_made(tmp_path: Path) -> None:
    photographs.make_photographs(tmp_path / "photographs", 20)
    (batch,) = photographs.our_epoch(photographs.our_data(tmp_path / "photographs", tmp_path / "cache"))
    assert batch[0].shape == (20, 3, photographs.SIDE, photographs.SIDE)
    assert sorted(batch[1].tolist()) == list(range(20))


@pytest.mark.parametrize("kind", input.KINDS)
def test_both_pipelines_serve_the_same_images(kind: str) -> None:
    pixels, labels = input.images(kind, 500)
    pixels[:] = labels.view(-1, 1, 1, 1)  # an image is known by its brightness; what lies outside of it is black
    batches = {
        "ours": input.our_batches(kind, pixels, labels),
        "peer": input.peer_batches(kind, pixels, labels, workers=0),
    }
    peaks = {}
    for side, served in batches.items():
        images, classes = map(torch.cat, zip(*served, strict=True))
        assert images.shape == pixels.shape
        assert images.dtype == torch.float32
        order = classes.argsort(stable=True)
        peaks[side] = images[order].amax((2, 3))
    torch.testing.assert_close(peaks["ours"], peaks["peer"])


def test_diagnostics_are_the_only_difference_of_a_pair() -> None:
    (pair,) = diagnostics.compare("32-true", 500, 100, 1)
    assert min(span.wall for span in (*pair.without, *pair.complete)) > 0


def test_sides_take_turns() -> None:
    order: list[str] = []
    times = measuring.side_by_side([lambda: order.append("a"), lambda: order.append("b")], seconds=0, at_least=4)
    assert "".join(order).startswith("abababab")
    assert all(taken.minimum <= taken.median for taken in times)


@pytest.mark.processes
def test_the_peak_of_temporary_memory_is_seen() -> None:
    # In a process of its own: what this one frees meanwhile would be subtracted.
    code = (
        "import torch; from benchmarks.measuring import MIB, peak_extra; "
        "print(peak_extra(lambda: torch.ones(64 * MIB, dtype=torch.uint8), lambda: None) / MIB)"
    )
    scripts = Path(measuring.__file__).parents[1]
    shown = subprocess.run([sys.executable, "-c", code], cwd=scripts, capture_output=True, text=True, check=True)
    assert 0.9 * 64 < float(shown.stdout) < 1.5 * 64


def test_large_batches_are_measured_beside_their_limits(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(limits, "isolated", lambda function, case: function(case))
    limits.run(quick=True, data_dir=None)
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[3:]]
    assert [row[-5:-3] for row in rows] == [["256", "128"], ["256", "8"], *[["512", "128"]] * 3]
    assert [row[-2] for row in rows] == ["191", "381", "1431", "1431", "1907"]


@pytest.mark.processes
def test_chunks_are_measured_beside_the_plain_step(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(chunks, "isolated", lambda function, case: function(case))
    chunks.compare(batch=16, chunk=8, side=32, repeats=1)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines[8:11]] == ["8 at once", "16 in chunks of 8", "16 at once"]
    assert "(limit 1.5x)" in lines[3]
    assert "(limit 1.3x)" in lines[11]


def test_variances_of_many_classes_are_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(variance, "isolated", lambda function, case: function(case))
    variance.run(quick=True, data_dir=None)
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[3:]]
    assert [row[-5:-2] for row in rows] == [["1,000", "16", "300"]] * 2


def test_verification_is_measured_and_exact(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(verification, "isolated", lambda function, *arguments: function(*arguments))
    verification.run(quick=True, data_dir=None)
    printed = capsys.readouterr().out
    assert "500 samples: TAR at FAR 1e-2 to 1e-6 and its thresholds are equal to the order statistics" in printed
    assert "499,500" in printed


def test_slopes_by_hand_are_measured_beside_formulas(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(kernels, "isolated", lambda function, *arguments: function(*arguments))
    kernels.run(quick=True, data_dir=None)
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[3:]]
    assert {"infonce", "supcon", "smooth_ap"} <= {row[0] for row in rows}
    assert all(row[-1].endswith("x") or row[-2].endswith("x") for row in rows)


@pytest.mark.parametrize("words", ranks.LOSSES, ids=" ".join)
def test_the_multiply_adds_of_a_rank_fall_with_the_number_of_ranks(words: tuple[str, ...]) -> None:
    """Of a batch of several blocks of anchors."""
    raw, labels = comparing.batch(640, "4 per class", torch.float64, dimension=16)
    objective = comparing.built(words, 160, 16).double()
    one = ranks.judged(objective, raw, labels)
    products = 3  # similarities, and the gradients of both ends of a pair
    assert one.operations == products * 640 * 640 * 16
    for count in (2, 4):
        found = ranks.simulated(count, partial(ranks.judged, objective, raw, labels))
        assert [each.operations for each in found] == [one.operations // count] * count
        for each in found:
            assert max(comparing.Agreement.of(each[:2], one[:2])) < ranks.TOLERANCE


def test_ranks_are_measured_beside_one_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ranks, "isolated", lambda function, *arguments: function(*arguments))
    monkeypatch.setattr(ranks, "use_threads", lambda count: None)
    found = {ranks._seconds: lambda count: 1 / count, ranks._bytes: lambda count: 2 * measuring.MIB}
    monkeypatch.setattr(ranks, "_together", lambda count, words, size, measure: [found[measure](count)] * count)
    ranks.run(quick=True, data_dir=None)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line.endswith(("e-15", "e-16", "e+00"))] == ["2", "4"] * 2
    assert lines[-1].split() == ["triplet", "2", "500", "0.50x", "2.0", "1.00x"]


def test_a_failing_rank_does_not_leave_the_others_waiting() -> None:
    def fail(own: Ranks) -> None:
        if own.rank == 1:
            raise ValueError("rank 1")
        own.reduce(torch.ones(1))

    with pytest.raises((ValueError, threading.BrokenBarrierError)):
        ranks.simulated(3, fail)


def test_numbers_stay_in_their_columns(capsys: pytest.CaptureFixture[str]) -> None:
    shown = table.Table([("name", 6), ("ratio", 16)])
    shown.row(["a", table.ratio(measuring.Times(1, 3), measuring.Times(0.5, 1, quiet=False))])
    assert capsys.readouterr().out.splitlines() == ["name" + " " * 15 + "ratio", "-" * 24, "a" + " " * 15 + "2x (3x)~"]


def test_mnist_says_which_file_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mnist.run(quick=True, data_dir=None)
    mnist.run(quick=True, data_dir=tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert "--data-dir" in lines[0]
    assert "train-images-idx3-ubyte is missing" in lines[1]


def test_a_comparison_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "LOSSES", ("contrastive", "triplet"))
    monkeypatch.setattr(compare, "DATASETS", ("synthetic",))
    folder = compare.write_study(tmp_path, 2, 3)
    assert len(list(folder.glob("*/*/seed*/metrics.csv"))) == 4
    seconds, cpu, peak = compare.measure([str(folder)])
    assert min(seconds, cpu) > 0
    assert peak > 10 * measuring.MIB
    assert (folder / "report" / "comparison.md").is_file()


def test_help_names_the_subjects_and_an_unknown_one_is_refused() -> None:
    command = [sys.executable, str(SCRIPTS / "benchmark.py")]
    shown = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True)
    assert "evaluation" in shown.stdout
    refused = subprocess.run([*command, "speed"], capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "no subject 'speed'" in refused.stderr


def test_busy_prints_ratios(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    taken = iter([10.0, 25.0, 10.0, 70.0])
    monkeypatch.setattr(busy, "seconds", lambda words, spins: next(taken))
    busy.run(True, None)
    out = capsys.readouterr().out
    assert "2.50x" in out
    assert "7.00x" in out
    assert "1.000x" in out


def test_a_search_in_a_saved_gallery_is_compared_with_float64(capsys: pytest.CaptureFixture[str]) -> None:
    serving.searching(1000, repeats=1)
    assert "the neighbours are those of float64" in capsys.readouterr().out


def test_methods_stand_beside_a_plain_loss() -> None:
    for words in (*beside.METHODS, *beside.METHODS.values()):
        for group, _, name in (word.partition("=") for word in words if "." not in word):
            assert name in (ACROSS if group == "pairs_across" else choices(group))
    words = ("loss=infonce", "weighting=dbpm")
    times = beside._compared((words, beside.METHODS[words]), 12, 0)
    assert times[2].endswith("x)") or times[2].endswith("~")


def test_both_distances_are_measured(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(hyperbolic, "isolated", lambda function, *arguments: function(*arguments))
    hyperbolic.run(quick=True, data_dir=None)
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[3:]]
    assert [row[0] for row in rows] == [*hyperbolic.LOSSES, "search"]


def test_the_average_that_is_timed_is_that_of_torch() -> None:
    weights, times = average.compared("mlp", 0)
    assert weights > 300_000
    assert len(times) == len(average.SIDES)


@pytest.mark.processes
def test_mixtures_are_measured_beside_the_plain_step(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(mixtures, "LOSSES", mixtures.LOSSES[:1])
    assert {*mixtures.MIXTURES, "none"} == set(choices("mixture"))
    monkeypatch.setattr(mixtures, "MIXTURES", {"metrix": "limit"})
    monkeypatch.setattr(mixtures, "SIDE", 8)
    mixtures.run(quick=True, data_dir=None)
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("infonce")]
    assert [row[1] for row in rows] == ["metrix"]
