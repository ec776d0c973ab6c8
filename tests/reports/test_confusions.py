import numpy as np

from metriscope.reports.confusions import Confusion, confused_pairs, confusions


def test_wrong_nearest_neighbours_are_counted_by_class_pair() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2])
    nearest = np.array([[3], [4], [1], [5], [0], [-1]])
    assert confusions(labels, nearest) == [Confusion(0, 1, 2, 3), Confusion(1, 0, 1, 2), Confusion(1, 2, 1, 2)]
    assert confusions(labels, nearest, most=1) == [Confusion(0, 1, 2, 3)]
    figure = confused_pairs(labels, nearest, ["cat", "d$g" * 60, "cow"], "a run")
    assert figure is not None
    names = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert names[0].startswith(r"cat → d\$g")
    assert "…" in names[0]
    assert len(names) == 3
    assert " 2 of 3 (67%)" in [text.get_text() for text in figure.axes[0].texts]


def test_nothing_wrong_nothing_drawn() -> None:
    assert confused_pairs([0, 0], [[1], [0]], ["cat"]) is None
    assert confusions([0, 1], np.empty((2, 0), dtype=int)) == []
