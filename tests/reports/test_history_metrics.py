import pytest

from metriscope.reports.history_metrics import COURSE, with_course
from metriscope.run.record import Record
from metriscope.run.study import StudyRun

EPOCHS = 6
LOSSES = [0.8, 0.6, 0.4, 0.3, 0.2, 0.1]
NORMS = [6.0, 4.0, 3.0, 2.0, 1.0, 1.0]
TERMS, ACTIVE = 100, 0.25


def course(rows: list[dict[str, float]]) -> dict[str, float]:
    run = StudyRun("x", {}, {"test/recall_at_1": 0.5}, Record("finished"), lambda keys: rows)
    metrics = dict(with_course(run).metrics)
    assert metrics.pop("test/recall_at_1") == 0.5
    return metrics


def rows(scale: float) -> list[dict[str, float]]:
    """Epochs of a run whose loss is ``scale`` times the mean over all terms, as another reduction would make it."""
    return [
        {
            "epoch": epoch,
            "step": epoch,
            "train/loss": scale * LOSSES[epoch],
            "train/loss_mean": LOSSES[epoch],
            "train/grad_norm": scale * NORMS[epoch],
            "train/active_ratio": ACTIVE,
            "train/active_ratio_pairs": 0.5,
            "val/variance_intra": LOSSES[epoch] / 2,
        }
        for epoch in range(EPOCHS)
    ]


def test_figures_of_a_course():
    found = course(rows(1.0))
    assert found == pytest.approx(
        {
            "course/active_ratio": ACTIVE,
            "course/active_ratio_pairs": 0.5,
            "course/gradient_per_active_term": sum(NORMS) / EPOCHS / ACTIVE,
            "course/early_loss_decay": 1 - 0.4 / 0.8,
            "course/early_compaction": 1 - 0.4 / 0.8,
            "course/late_gradient": (1.0 + 1.0) / (6.0 + 4.0),
        }
    )


@pytest.mark.parametrize("scale", [TERMS, TERMS * ACTIVE])
def test_the_reduction_of_the_loss_does_not_matter_to_an_active_term(scale):
    key = "course/gradient_per_active_term"
    assert course(rows(scale))[key] == pytest.approx(course(rows(1.0))[key])


def test_what_a_history_does_not_have_is_left_out():
    assert course([]) == {}
    assert set(course(rows(1.0)[:1])) == set(COURSE) - {
        "course/early_loss_decay",
        "course/early_compaction",
        "course/late_gradient",
    }
    still = [{**row, "train/loss": 0.0, "train/loss_mean": 0.0, "train/active_ratio": 0.0} for row in rows(1.0)]
    assert course(still)["course/active_ratio"] == 0
    assert "course/gradient_per_active_term" not in course(still)
