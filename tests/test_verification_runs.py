"""Whole runs with verification: by all pairs or by a list, in summary and record."""

import csv

import pytest
import torch
from tiny_runs import COMPOSER, TINY

from metriscope.app import train
from metriscope.errors import InputError
from metriscope.evaluation.verification.listed import PairList
from metriscope.evaluation.verification.of_set import Verification
from metriscope.run.record import read_record

ASKED = (
    "evaluation.metrics.tar_at_far={far: [1e-1]}",
    "evaluation.metrics.pair_auc=true",
    "+evaluation.metrics.threshold_inconsistency.far=[1e-1,5e-1]",
    "evaluation.monitor=val/pair_auc",
    "loss=triplet",
    "logger.figures=false",
    "trainer.max_epochs=1",
)


def test_a_list_takes_the_place_of_all_pairs_of_the_test_set(tmp_path):
    first, second = torch.randint(100, (2, 600), generator=torch.Generator().manual_seed(0))
    first, second = first[first != second], second[first != second]
    file = tmp_path / "pairs.csv"
    lines = [f"{a},{b}" for a, b in zip(first.tolist(), second.tolist(), strict=True)]
    file.write_text("\n".join(["image_a,image_b", *lines]))

    def go(*words):
        return train(COMPOSER([*TINY, *ASKED, f"paths.output_dir={tmp_path / 'outputs'}", *words]))

    every, listed = go(), go(f"evaluation.pairs={file}")
    for outcome, pairs in ((every, None), (listed, PairList(first, second, None))):
        evaluated = outcome.module.evaluated
        wanted = Verification(evaluated.embeddings, evaluated.labels, pairs=pairs)
        assert outcome.metrics["test/pair_auc"] == pytest.approx(wanted.curve.auc, abs=1e-6)
        assert outcome.metrics["test/tar_at_far_1e_1"] == pytest.approx(wanted.tar_at(1e-1), abs=1e-6)
        found = outcome.metrics["test/threshold_inconsistency"]
        with (outcome.folder / "thresholds.csv").open(newline="") as opened:
            rows = list(csv.DictReader(opened))
        rates = wanted.rates((1e-1, 5e-1))
        assert len(rows) == len(rates.labels) == 5
        own = {outcome.data.splits.test.classes[label]: d for label, d in zip(rates.labels, rates.best(), strict=True)}
        assert all(float(row["threshold"]) == pytest.approx(float(own[row["class"]])) for row in rows)
        gaps = [abs(float(row["threshold"]) - float(row["shared_threshold"])) for row in rows]
        assert gaps == sorted(gaps, reverse=True)
        assert found == pytest.approx(wanted.inconsistency((1e-1, 5e-1)), abs=1e-6)
    assert every.metrics["best/val/pair_auc"] == listed.metrics["best/val/pair_auc"], "all pairs of validation"
    assert every.folder != listed.folder
    assert read_record(listed.folder).metrics["tar_at_far_1e_1"] == ["TAR at FAR 1e-1", "max"]

    file.write_text("image_a,image_b\n0,100\n")
    with pytest.raises(InputError, match=r"line 2: '100' is no sample of the test part"):
        go(f"evaluation.pairs={file}", "seed=1")
    assert not list((tmp_path / "outputs").rglob("seed1*/checkpoints/*.ckpt")), "before the training"
