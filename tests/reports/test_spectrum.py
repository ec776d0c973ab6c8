import csv

import pytest
import torch

from metriscope.evaluation.embedded import EvaluatedSet
from metriscope.reports import spectrum
from metriscope.reports.spectrum import profiles, write_spectrum


def evaluated(z: torch.Tensor) -> EvaluatedSet:
    return EvaluatedSet(z, torch.zeros(len(z), dtype=torch.int64))


def test_profile_is_the_same_by_blocks_and_written_whole(tmp_path, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    tested = {name: evaluated(torch.randn(20, size, generator=generator)) for name, size in (("trunk", 5), ("x", 3))}
    whole = profiles(tested)
    monkeypatch.setattr(spectrum, "_BLOCK", 7)
    assert profiles(tested)["trunk"].singular_values == pytest.approx(whole["trunk"].singular_values)
    z = tested["trunk"].embeddings.double()
    values = torch.linalg.svdvals(z - z.mean(0)).tolist()
    assert whole["trunk"].singular_values == pytest.approx(values, rel=1e-9)
    write_spectrum(tmp_path / "spectrum.csv", whole)
    with (tmp_path / "spectrum.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [(line["layer"], line["rank"]) for line in lines[4:6]] == [("trunk", "5"), ("x", "1")]
    assert sum(float(line["variance_share"]) for line in lines) == pytest.approx(2)


def test_a_point_has_no_figure():
    point = profiles({"embedding": evaluated(torch.ones(4, 3))})
    assert point["embedding"].participation == 0
    assert point["embedding"].shares == [0, 0, 0]
    assert spectrum.spectrum(point) is None
