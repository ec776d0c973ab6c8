import numpy as np
import torch

from metriscope.evaluation.embedded import EvaluatedSet
from metriscope.evaluation.measures import Measures
from metriscope.evaluation.retrieval import query_scores
from metriscope.reports.run_tables import class_table, gallery_table, hardest_table
from metriscope.tracking.base import Picture

CLASSES = ["a", "b"]
# On a line; the last sample of b lies among those of a.
POINTS = torch.tensor([[0.0], [0.1], [5.0], [5.2], [0.25]])
LABELS = torch.tensor([0, 0, 1, 1, 1])
IMAGES = torch.arange(5, dtype=torch.uint8)[:, None, None, None].expand(5, 1, 2, 3)


def evaluated(queries=None):
    scores = query_scores(POINTS, LABELS, Measures((1,), (1,), map_at_r=True, mrr=True), queries=queries)
    return EvaluatedSet(POINTS, LABELS, scores)


def test_the_hardest_query_comes_first_with_what_lies_nearest():
    table = hardest_table(IMAGES, evaluated(), None, CLASSES)
    first = dict(zip(table.columns, table.rows[0], strict=True))
    assert (first["position"], first["query"].words, first["nearest"].words) == (4, "b", "a")
    assert (first["average_precision"], first["first_hit"], first["relevant"]) == (0, 3, 2)
    assert int(first["nearest"].pixels[0, 0]) == 1
    assert first["query"].pixels.shape == (2, 3)
    precisions = [row[3] for row in table.rows]
    assert precisions == sorted(precisions)
    assert len(table.rows) == 5


def test_queries_of_a_gallery_are_judged_in_it():
    queries = torch.tensor([True, False, False, True, True])
    table = hardest_table(None, evaluated(queries), queries, CLASSES)
    # Without images the names of the classes stand for them.
    assert [row[:3] for row in table.rows] == [[4, "b", "a"], [0, "a", "a"], [3, "b", "b"]]


def test_of_two_modalities_the_nearest_is_of_the_other():
    side = torch.tensor([0, 0, 0, 1, 1])
    scores = query_scores(POINTS, LABELS, Measures((1,), (1,), map_at_r=True, mrr=True), side=side)
    table = hardest_table(None, EvaluatedSet(POINTS, LABELS, scores, side=side), None, CLASSES)
    # Samples 0 and 1 have nothing of their class to find; 4 is nearest to a sample of class a.
    assert [row[:3] for row in table.rows] == [[4, "b", "a"], [2, "b", "b"], [3, "b", "b"]]


def test_the_gallery_marks_hits_and_misses():
    neighbors = np.array([[1, 4], [0, 4], [3, 4], [2, 4], [1, -1]])
    table = gallery_table(None, LABELS.numpy(), neighbors, {"worst": [4], "random": [0]}, CLASSES)
    assert table.columns == ["queries", "position", "query", "1", "2"]
    assert table.rows == [["worst", 4, "b", "✗ a", None], ["random", 0, "a", "✓ a", "✗ b"]]
    assert isinstance(gallery_table(IMAGES, LABELS.numpy(), neighbors, {"worst": [4]}, CLASSES).rows[0][2], Picture)


def test_a_row_for_each_class():
    table = class_table(evaluated().scores, CLASSES)
    assert [row[:3] for row in table.rows] == [["a", 2, 0], ["b", 3, 0]]
