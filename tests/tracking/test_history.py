import math
import pickle
from pathlib import Path

import pytest

from metriscope.errors import InputError, RunError
from metriscope.run.history import Selected, points, read_history, summary
from metriscope.tracking.history import HistoryLogger


def three_epochs(folder: Path) -> HistoryLogger:
    """Two steps per epoch, logged as the trainer does."""
    logger = HistoryLogger(folder)
    for epoch in range(3):
        for step in (2 * epoch, 2 * epoch + 1):
            logger.log_metrics({"epoch": epoch, "train/loss_step": 1 / (step + 1)}, step)
        logger.log_metrics({"epoch": epoch, "val/recall_at_1": 0.1 * epoch}, 2 * epoch + 1)
        logger.log_metrics({"epoch": epoch, "train/loss": 1.0 - epoch}, 2 * epoch + 1)
    return logger


def test_entries_of_one_step_share_a_row_and_columns_come_as_first_seen(tmp_path: Path) -> None:
    three_epochs(tmp_path)
    lines = (tmp_path / "metrics.csv").read_text().splitlines()
    assert lines[0] == "epoch,step,train/loss_step,val/recall_at_1,train/loss"
    assert lines[1:3] == ["0,0,1.0,,", "0,1,0.5,0.0,1.0"]
    assert len(lines) == 7


def test_the_same_key_twice_makes_two_rows(tmp_path: Path) -> None:
    logger = HistoryLogger(tmp_path)
    logger.log_metrics({"epoch": 0, "val/loss": 1.0}, 3)
    logger.log_metrics({"epoch": 0, "val/loss": 2.0, "val/x": math.nan}, 3)
    logger.log_metrics({"epoch": 0}, 4)
    first, second = read_history(logger.path)
    assert first == {"epoch": 0, "step": 3, "val/loss": 1.0}
    assert second["val/loss"] == 2.0
    assert math.isnan(second["val/x"])
    assert points([first, second], "val/x") == ([], [])


@pytest.mark.parametrize("torn", ["2,6,0.1", "2,6,0.1,,\n2,7", "2,", ""])
def test_a_torn_last_line_is_dropped_and_written_over(tmp_path: Path, torn: str) -> None:
    three_epochs(tmp_path).close()
    path = tmp_path / "metrics.csv"
    before = read_history(path)
    path.write_text(path.read_text() + torn)
    whole = torn.count("\n")
    assert len(read_history(path)) == len(before) + whole
    HistoryLogger(tmp_path).log_metrics({"epoch": 3, "train/loss_step": 0.5}, 9)
    assert len(read_history(path)) == len(before) + whole + 1
    assert read_history(path)[-1] == {"epoch": 3, "step": 9, "train/loss_step": 0.5}


def test_a_broken_line_in_the_middle_is_named(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,step,a\n0,0,x\n0,1,1.0\n")
    with pytest.raises(InputError, match=r"metrics\.csv, line 2"):
        read_history(path)


def test_resuming_cuts_what_will_be_logged_again(tmp_path: Path) -> None:
    three_epochs(tmp_path).close()
    whole = (tmp_path / "metrics.csv").read_bytes()
    logger = HistoryLogger(tmp_path)
    assert logger.resume_from(4) == {"train/loss_step": 5, "val/recall_at_1": 5, "train/loss": 5}
    assert [row["step"] for row in read_history(logger.path)] == [0, 1, 2, 3]
    for step in (4, 5):
        logger.log_metrics({"epoch": 2, "train/loss_step": 1 / (step + 1)}, step)
    logger.log_metrics({"epoch": 2, "val/recall_at_1": 0.2, "train/loss": -1.0}, 5)
    assert (tmp_path / "metrics.csv").read_bytes() == whole
    assert logger.resume_from(0)["train/loss"] == 5
    assert read_history(logger.path) == []
    logger.log_metrics({"epoch": 0, "b/c": 1}, 0)
    assert logger.path.read_text() == "epoch,step,b/c\n0,0,1.0\n"


def test_the_logger_travels_to_another_process(tmp_path: Path) -> None:
    copy = pickle.loads(pickle.dumps(three_epochs(tmp_path)))
    copy.log_metrics({"epoch": 3, "train/loss_step": 0.1}, 6)
    assert len(read_history(tmp_path / "metrics.csv")) == 7


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"metrics\.csv cannot be written"):
        HistoryLogger(tmp_path / "file").log_metrics({"a": 1.0}, 0)


def test_summary_has_final_and_selected_values_of_epochs_only(tmp_path: Path) -> None:
    history = read_history(three_epochs(tmp_path).path)
    assert summary(history, Selected(1, 4), final={"test/loss": 3.0}) == {
        "val/recall_at_1": 0.2,
        "train/loss": -1.0,
        "test/loss": 3.0,
        "best/epoch": 1,
        "best/val/recall_at_1": 0.1,
    }
    assert "best/epoch" not in summary(history)
    assert read_history(tmp_path / "none.csv") == []
