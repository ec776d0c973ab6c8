import numpy as np

from metriscope.reports.confusions import Confusion, confused_by_group, confused_pairs, confusions


def test_wrong_nearest_neighbours_are_counted_by_class_pair() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2])
    nearest = np.array([[3], [4], [1], [5], [0], [-1]])
    assert confusions(labels, nearest) == [Confusion(0, 1, 2, 3), Confusion(1, 0, 1, 2), Confusion(1, 2, 1, 2)]
    assert confusions(labels, nearest, most=1) == [Confusion(0, 1, 2, 3)]
    figure = confused_pairs(labels, nearest, ["cat", "d$g" * 60, "cow"], "a run")
    assert figure is not None
    names = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert names[0].startswith("\u200ecat\u200e → \u200ed\\$g")
    assert "…" in names[0]
    assert len(names) == 3
    assert " 2 of 3 (67%)" in [text.get_text() for text in figure.axes[0].texts]


def test_nothing_wrong_nothing_drawn() -> None:
    assert confused_pairs([0, 0], [[1], [0]], ["cat"]) is None
    assert confusions([0, 1], np.empty((2, 0), dtype=int)) == []


def test_every_group_has_a_panel_with_its_pairs() -> None:
    classes = ["a$b" * 50, "b", "c"]
    pairs = [Confusion(0, 1, 3, 9), Confusion(1, 2, 1, 4)]
    figure = confused_by_group([("Triplet", pairs, classes), ("ArcFace", [], classes)], "a study")
    assert figure is not None
    first, second = figure.axes
    assert (first.get_title(loc="left"), second.get_title(loc="left")) == ("Triplet", "ArcFace")
    said = [text.get_text() for text in first.texts]
    # Marks of direction keep a name in Arabic from turning the arrow and the counts.
    assert said[0].startswith("\u200ea\\$b")
    assert said[0].endswith("→ \u200eb\u200e: 3 of 9 (33%)")
    assert said[1] == "\u200eb\u200e → \u200ec\u200e: 1 of 4 (25%)"
    assert [text.get_text() for text in second.texts] == ["all are right"]
    assert first.get_xlim() == second.get_xlim()
    assert confused_by_group([("Triplet", [], classes)]) is None
