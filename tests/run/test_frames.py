import sys

import pytest
from studies import write_study

from metriscope.errors import InputError
from metriscope.outcome import Outcome
from metriscope.run.history import read_history
from metriscope.run.study import load_study


@pytest.fixture
def study(tmp_path):
    return load_study(write_study(tmp_path, {"contrastive": 0.7, "triplet": 0.8}, epochs=3))


def test_a_history_is_a_frame_with_a_column_for_each_key(study, tmp_path):
    folder = study.runs[0].folder
    history = Outcome({}, folder).history
    rows = read_history(folder / "metrics.csv")
    assert list(history.columns[:2]) == ["epoch", "step"]
    assert set(history.columns) == {key for row in rows for key in row}
    assert history["step"].tolist() == [row["step"] for row in rows]
    assert str(history["epoch"].dtype) == "int64"
    logged = history["val/recall_at_1"].dropna().tolist()
    assert logged == [row["val/recall_at_1"] for row in rows if "val/recall_at_1" in row]
    assert Outcome({}, tmp_path / "nothing").history.columns.tolist() == ["epoch", "step"]


def test_a_study_is_a_frame_with_a_line_for_each_run(study):
    frame = study.frame
    assert frame.index.tolist() == [run.name for run in study.runs]
    assert frame["loss.name"].tolist() == [run.config["loss.name"] for run in study.runs]
    assert frame["test/recall_at_1"].tolist() == [run.metrics["test/recall_at_1"] for run in study.runs]
    assert set(frame["status"]) == {"finished"}
    assert not any(key.startswith(("paths.", "logger.")) for key in frame.columns)


def test_without_pandas_one_line_names_the_extra(study, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    line = r"^a data frame needs a package: pip install 'metriscope\[tables\]'$"
    with pytest.raises(InputError, match=line):
        _ = study.frame
    with pytest.raises(InputError, match=line):
        _ = Outcome({}, study.runs[0].folder).history
