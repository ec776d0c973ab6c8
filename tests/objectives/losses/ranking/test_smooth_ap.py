"""Smooth-AP against a loop over anchors, positives and ranks."""

import pytest
import torch
from combinations import every
from loop_oracles import CASES, DTYPES, balanced, case, hold, hold_form, hold_library, mean_of
from pytorch_metric_learning import losses

from metriscope.objectives import chunks
from metriscope.objectives.losses.ranking.smooth_ap import SmoothAPLoss
from metriscope.objectives.selection import TripletBand

TEMPERATURE = 0.1


def average_precision(s, positives, negatives):
    precision = 0
    for p in positives:
        ahead = {j: torch.sigmoid((s[j] - s[p]) / TEMPERATURE) for j in positives + negatives if j != p}
        own = 1 + sum(ahead[j] for j in positives if j != p)
        precision = precision + own / (1 + sum(ahead.values()))
    return [1 - precision / len(positives)]


oracle = mean_of(average_precision)


def oracle_with_the_anchor(rows):
    return oracle([(s, sorted([i, *p]) if p else p, n) for i, (s, p, n) in enumerate(rows)])


@every(name=CASES, dtype=DTYPES)
def test_against_the_loop(name, dtype):
    hold(SmoothAPLoss(TEMPERATURE), oracle, name, dtype)
    hold(SmoothAPLoss(TEMPERATURE, include_anchor=True), oracle_with_the_anchor, name, dtype)


@pytest.mark.parametrize("elements", [1, 30, 200])
def test_chunks_of_positives_and_anchors_add_up(monkeypatch, elements):
    monkeypatch.setattr(chunks, "_CHUNK_ELEMENTS_CPU", elements)
    hold(SmoothAPLoss(TEMPERATURE), oracle, "few classes", torch.float64)


def test_memory_bounds_the_chunk():
    _, comparison = case("few classes", torch.float64, "cosine")
    wanted = SmoothAPLoss()(comparison, TripletBand()).value
    torch.testing.assert_close(SmoothAPLoss(memory_mb=1e-4)(comparison, TripletBand()).value, wanted)
    assert chunks.chunk_elements(comparison.distances, 1e-4) == 2


def test_form():
    hold_form(SmoothAPLoss(TEMPERATURE))
    hold_form(SmoothAPLoss(TEMPERATURE, include_anchor=True))


def test_equals_the_library_where_classes_are_as_many_as_their_samples():
    z, labels = balanced(4, 4)
    hold_library(
        SmoothAPLoss(TEMPERATURE, include_anchor=True), losses.SmoothAPLoss(TEMPERATURE), z, labels, tolerance=1e-6
    )


def test_the_library_errs_where_they_are_not():
    """Equal classes side by side are all that it asks for; the loop above says who is right."""
    z, labels = balanced(6, 2)
    with pytest.raises(AssertionError, match="not close"):
        hold_library(SmoothAPLoss(TEMPERATURE, include_anchor=True), losses.SmoothAPLoss(TEMPERATURE), z, labels)
