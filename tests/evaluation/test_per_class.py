import csv
from pathlib import Path

import pytest
import torch

from metriscope.evaluation.per_class import ClassResult, per_class, write_per_class
from metriscope.evaluation.retrieval import Measures, means, query_scores


def test_each_class_by_itself_and_together_the_whole() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 5, (80,), generator=generator)
    embeddings = torch.randn(80, 8, generator=generator) + torch.randn(5, 8, generator=generator)[labels]
    embeddings, labels = torch.cat([embeddings, torch.ones(1, 8)]), torch.cat([labels, torch.tensor([5])])
    scores = query_scores(embeddings, labels, Measures())
    results = per_class(scores, [*"abcde", "alone", "empty"])
    for label, one in enumerate(results[:5]):
        mine = scores.labels == label
        assert (one.queries, one.skipped) == (int(mine.sum()), 0)
        assert one.recall_at_1 == pytest.approx(float((scores.first_hit[mine] == 1).double().mean()))
    assert results[5:] == [ClassResult("alone", 0, 1, None, None), ClassResult("empty", 0, 0, None, None)]
    whole = means(scores, Measures())
    for key in ("recall_at_1", "map_at_r"):
        weighted = sum(getattr(one, key) * one.queries for one in results[:5])
        assert weighted / 80 == pytest.approx(whole[key])


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    """A folder may be named in another encoding."""
    write_per_class(tmp_path / "per_class.csv", [ClassResult("caf\udce9", 3, 0, 1.0, 0.5)])
    assert (tmp_path / "per_class.csv").read_text(encoding="utf-8").splitlines()[
        1
    ] == "caf\N{REPLACEMENT CHARACTER},3,0,1.0,0.5"


def test_a_file_with_the_worst_first(tmp_path: Path) -> None:
    results = [
        ClassResult("good", 3, 0, 1.0, 0.5),
        ClassResult("alone", 0, 1, None, None),
        ClassResult("none", 0, 0, None, None),
        ClassResult("bad, with a comma", 3, 0, 0.25, 0.1),
        ClassResult("=caf\udce9", 0, 0, None, None),
    ]
    write_per_class(tmp_path / "per_class.csv", results)
    with (tmp_path / "per_class.csv").open(newline="") as file:
        lines = list(csv.reader(file))
    assert lines == [
        ["class", "queries", "skipped", "recall_at_1", "map_at_r"],
        ["bad, with a comma", "3", "0", "0.25", "0.1"],
        ["good", "3", "0", "1.0", "0.5"],
        ["alone", "0", "1", "", ""],
        ["none", "0", "0", "", ""],
        ["'=caf\N{REPLACEMENT CHARACTER}", "0", "0", "", ""],
    ]
