"""Whole runs on files that workers decode: the protocol is reported, odd images converted, broken ones named."""

import csv
import json

import layouts
import numpy as np
import pytest
from PIL import Image
from tiny_runs import COMPOSER

from metriscope.app import train
from metriscope.data.datasets import cub
from metriscope.errors import InputError
from metriscope.evaluation.retrieval import retrieval_metrics
from metriscope.run.embeddings import read_embeddings

SMALL = (
    *(
        "backbone=small_cnn",
        "dataset.image_size=16",
        "dataset.cache=none",
        "dataset.memory_limit_mb=0",
        "dataset.num_workers=1",
    ),
    *("sampler.batch_size=8", "trainer=cpu", "trainer.max_epochs=1", "logger=none", "logger.figures=false"),
    *("evaluation.metrics.recall_at.k=[1]", "evaluation.classification=false", "diagnostics=none"),
)


@pytest.fixture
def go(tmp_path):
    def go(*words):
        paths = f"paths.data_dir={tmp_path / 'data'}", f"paths.output_dir={tmp_path / 'outputs'}"
        return train(COMPOSER([*words, *SMALL, *paths]))

    return go


def test_cub_from_its_files_to_its_figures(go, tmp_path, monkeypatch, capsys):
    layouts.cub(tmp_path / "data", (6,) * 8, [f"{i:03}.Bird_{i}" for i in range(1, 9)])
    monkeypatch.setattr(cub, "PUBLISHED", {"images": 48, "classes": 8, cub.FIRST: 24, cub.LAST: 24})
    outcome = go("dataset=cub", "loss=triplet")
    assert "results: class disjoint, 1 epoch" in capsys.readouterr().out
    assert json.loads((outcome.folder / "run.json").read_text())["protocol"] == "class_disjoint"
    assert 0 <= outcome.metrics["test/recall_at_1"] <= 1
    splits = outcome.data.splits
    assert splits.train.classes == ("003.Bird_3", "004.Bird_4")
    assert splits.validation.classes == ("001.Bird_1", "002.Bird_2")
    assert splits.test.classes == tuple(f"{i:03}.Bird_{i}" for i in range(5, 9))
    closed = go("dataset=cub", "dataset.protocol=closed_set", "dataset.validation=0.34")
    assert "results: closed set, 1 epoch" in capsys.readouterr().out
    assert closed.data.splits.test.counts.tolist() == [3] * 8


def test_odd_images_are_converted_and_broken_ones_named(go, tmp_path):
    lines, folder = ["path,label,split"], tmp_path / "bilder 猫"
    for label, (mode, ending) in enumerate([("L", "jpg"), ("CMYK", "jpg"), ("P", "png"), ("I;16", "png")]):
        for number in range(8):
            name = f"Übung {mode[0]}{number}.{ending}"
            layouts.image(folder / name, label, number, mode=mode if mode != "I;16" else "L")
            if mode == "I;16":
                Image.fromarray(np.full((16, 20), 4000 * number, np.uint16)).save(folder / name)
            lines.append(f"{name},{mode},{'test' if number > 5 else 'train'}")
    layouts.write(folder / "list.csv", lines)
    words = "dataset=csv", f"dataset.path='{folder / 'list.csv'}'", "dataset.validation=0"
    assert "test/recall_at_1" in go(*words).metrics
    (folder / "Übung P3.png").write_bytes(b"\x89PNG broken")
    with pytest.raises(InputError) as error:
        go(*words, "seed=1")
    assert str(error.value).startswith(f"cannot read the image {folder / 'Übung P3.png'}: ")
    assert "\n" not in str(error.value)


def test_own_parts_and_boxes_from_a_table_to_its_outputs(go, tmp_path, caplog):
    """Query and gallery, a validation part, and two boxes of each photograph, one per class."""
    lines = ["path,species,split,x,y,width,height"]
    for number, part in enumerate(["train"] * 6 + ["val"] * 2 + ["query", "gallery", "gallery"]):
        layouts.image(tmp_path / "own" / "images" / f"{number}.jpg", 1, number)
        for label in range(3):
            lines.append(f"images/{number}.jpg,kind {label},{part},{5 * label},2,5,6")
    layouts.write(tmp_path / "own" / "list.csv", lines)
    words = "dataset=csv", f"dataset.path={tmp_path / 'own' / 'list.csv'}", "dataset.label=species", "loss=triplet"
    outcome = go(*words, "evaluation.per_query=true", "evaluation.save_embeddings=true")
    assert "validation: 6 images, 3 classes; test: 9 images, 3 classes (3 queries, 6 in the gallery)" in caplog.text
    assert "best/epoch" in outcome.metrics
    saved = read_embeddings(outcome.folder)
    assert saved.paths == [f"{number}.jpg" for number in (8, 9, 10) for _ in range(3)]
    with (outcome.folder / "per_query.csv").open(newline="") as file:
        results = list(csv.DictReader(file))
    assert [(one["position"], one["path"], one["class"]) for one in results] == [
        (str(label), "8.jpg", f"kind {label}") for label in range(3)
    ]
    assert {one["nearest_path"] for one in results} <= {"9.jpg", "10.jpg"}
    recall = sum(int(one["recall_at_1"]) for one in results) / 3
    assert recall == pytest.approx(outcome.metrics["test/recall_at_1"])
    with pytest.raises(InputError, match=r"dataset\.fold=1: the data bring their own validation part"):
        go(*words, "dataset.fold=1")


def test_a_validation_set_in_which_nothing_can_be_found_selects_nothing(go, tmp_path, caplog):
    """One image of each class: neighbours have nothing to find, and triplets no positive."""
    lines = ["path,label"]
    for label in range(3):
        for number in range(14):
            layouts.image(tmp_path / "own" / f"{label}-{number}.png", label, number)
            lines.append(f"{label}-{number}.png,{label}")
    (tmp_path / "own" / "list.csv").write_text("\n".join(lines))
    words = "dataset=csv", f"dataset.path={tmp_path / 'own' / 'list.csv'}", "loss=triplet"
    with pytest.warns(UserWarning, match="none of 3 queries has an image of its class to find: retrieval metrics are"):
        outcome = go(*words)
    assert "validation holds one image of each class" in caplog.text
    assert "train: 33 images, 3 classes; validation: 3 images, 3 classes; test: 6 images, 3 classes" in caplog.text
    assert "best/epoch" not in outcome.metrics
    assert not any(
        key.startswith(("val/recall", "val/map", "val/mrr", "val/loss", "best/val/r")) for key in outcome.metrics
    )
    assert 0 <= outcome.metrics["test/recall_at_1"] <= 1
    with pytest.raises(InputError, match="scheduler goes by val/map_at_r, but validation holds one image of each"):
        go(*words, "scheduler=plateau")
    with pytest.raises(InputError, match=r"callbacks\.early_stopping goes by val/map_at_r"):
        go(*words, "callbacks=early_stopping")


def test_distractors_lie_in_the_gallery_of_every_query(go, tmp_path):
    for part, count in (("train", 4), ("query", 1), ("gallery", 2)):
        for label in range(3):
            for number in range(count):
                layouts.image(tmp_path / "own" / part / f"kind {label}" / f"{part}{number}.png", label, number + label)
    others = tmp_path / "others"
    for number in range(9):
        layouts.image(others / "deeper" / f"{number}.png", 5, 40 + number)
    words = "dataset=folder", f"dataset.path={tmp_path / 'own'}", "dataset.validation=0", "loss=triplet"
    asked = "evaluation.per_query=true", *(f"evaluation.metrics.{name}=true" for name in ("cmc", "hubness", "map_at"))
    outcome = go(*words, *asked, f"evaluation.distractors={others}", "evaluation.metrics.mean_average_precision=true")
    tested = outcome.module.evaluated
    assert tested.distractors.shape == (9, tested.embeddings.shape[1])
    own = {"queries": tested.queries, "map_at": (10,), "mean_average_precision": True, "cmc_at": (1, 5, 10, 20)}
    expected = retrieval_metrics(tested.embeddings, tested.labels, (1,), distractors=tested.distractors, **own)
    assert {name: outcome.metrics[f"test/{name}"] for name in expected} == pytest.approx(expected, abs=1e-6)
    assert outcome.metrics["test/antihubs_at_10"] == pytest.approx(0.2, abs=0.2)
    # A copy of a gallery image may be a distractor; one of a query may not.
    layouts.image(others / "gallery.png", 1, 1)
    (others / "copy.png").write_bytes((tmp_path / "own" / "query" / "kind 2" / "query0.png").read_bytes())
    with pytest.raises(InputError) as error:
        go(*words, "seed=1", f"evaluation.distractors={others}")
    assert str(error.value).startswith(f"evaluation.distractors={others}: {others / 'copy.png'} is the test query ")
    assert "\n" not in str(error.value)
