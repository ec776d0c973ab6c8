"""Label noise: which training labels become wrong, what a run trains on, what it is evaluated on, what it leaves."""

import csv
import json
from pathlib import Path
from typing import Any

import layouts
import pytest
import torch
import yaml
from tiny_runs import COMPOSER, TINY

from metriscope.app import train
from metriscope.build.run import data_of
from metriscope.config.compose import compose_config
from metriscope.config.plain import plain
from metriscope.config.rules import check
from metriscope.data.examples import Examples
from metriscope.data.label_noise import label_noise, write_label_noise
from metriscope.data.loading import load_splits
from metriscope.errors import InputError
from metriscope.evaluating import evaluate
from metriscope.outcome import Outcome
from metriscope.run.identity import identity

NOISE = "dataset.label_noise=0.2"


def examples(counts: dict[str, int]) -> Examples:
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(list(counts.values())))
    return Examples(torch.zeros(len(labels), 2), labels, tuple(counts))


TRAIN = examples({"cat": 40, "dog": 30, "cow": 20, "1": 5})


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (0.2, 19), (0.5, 48), (0.99, 94)])
def test_an_exact_share_of_the_labels_is_wrong_and_the_record_says_which(share: float, count: int) -> None:
    noise = label_noise(TRAIN, share, seed=3)
    assert noise.count == count
    assert torch.equal(noise.noisy, noise.labels != TRAIN.labels)
    assert noise.labels.dtype == torch.int64
    assert 0 <= int(noise.labels.min()) <= int(noise.labels.max()) < 4


def test_the_other_classes_are_equally_likely() -> None:
    train = examples(dict.fromkeys("abcd", 3000))
    noise = label_noise(train, 0.9, seed=0)
    counts = torch.zeros(4, 4)
    counts.index_put_((train.labels, noise.labels), torch.ones(len(train)), accumulate=True)
    others = counts[~torch.eye(4, dtype=torch.bool)]
    assert (others - 900).abs().max() < 120  # 4 standard deviations


def test_the_seed_decides_and_a_larger_share_holds_the_smaller() -> None:
    small, same, large = (label_noise(TRAIN, share, seed=1) for share in (0.2, 0.2, 0.4))
    other = label_noise(TRAIN, 0.2, seed=2)
    assert torch.equal(small.labels, same.labels)
    assert not torch.equal(small.labels, other.labels)
    assert torch.equal(large.labels[small.noisy], small.labels[small.noisy])


def test_pairs_change_the_classes_they_name_alone() -> None:
    # A class that is named "1" comes before the class with this number.
    noise = label_noise(TRAIN, 0.5, seed=0, pairs={"cat": "dog", 2: 1})
    assert noise.count == 30
    assert set(TRAIN.labels[noise.noisy].tolist()) == {0, 2}
    assert set(noise.labels[noise.noisy & (TRAIN.labels == 0)].tolist()) == {1}
    assert set(noise.labels[noise.noisy & (TRAIN.labels == 2)].tolist()) == {3}


@pytest.mark.parametrize(
    ("share", "pairs", "line"),
    [
        (1.0, None, "dataset.label_noise=1.0: it has to be a share of at least 0 and below 1"),
        (-0.1, None, "dataset.label_noise=-0.1: it has to be a share"),
        (float("nan"), None, "dataset.label_noise=nan: it has to be a share"),
        (0.001, None, "dataset.label_noise=0.001 of 95 training samples is none: raise the share, or set it to null"),
        (0.2, {"cat": "dgo"}, "dataset.label_noise_pairs: training has no class dgo; did you mean 'dog'"),
        (0.2, {"cat": 4}, "dataset.label_noise_pairs: training has no class 4. It has 4, by name or by number from 0"),
        (0.2, {"cat": 0}, "dataset.label_noise_pairs: 'cat' stands for itself"),
        (0.2, {"cat": "dog", 0: "cow"}, "dataset.label_noise_pairs: 'cat' is there twice, by name and by number"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(share: float, pairs: dict[str | int, str | int], line: str) -> None:
    with pytest.raises(InputError) as error:
        label_noise(TRAIN, share, seed=0, pairs=pairs)
    assert str(error.value).startswith(line)
    assert "\n" not in str(error.value)


def test_one_class_alone_has_no_wrong_label() -> None:
    with pytest.raises(InputError, match="training has one class"):
        label_noise(examples({"cat": 5}), 0.2, seed=0)


def splits_of(*words: str) -> Any:
    config = plain(COMPOSER([*TINY, *words]))
    return load_splits(config["dataset"], config["seed"])


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return train(COMPOSER([*TINY, NOISE, f"paths.output_dir={tmp_path_factory.mktemp('noisy')}"]))


def test_training_sees_the_wrong_labels_and_evaluation_the_true_ones(noisy: Outcome) -> None:
    data, splits = noisy.data, noisy.data.splits
    assert splits.noise.count == 18
    for _, labels, index in data.train_dataloader():
        assert torch.equal(labels, splits.noise.labels[index])
    assert torch.equal(data.train_batch_sampler.labels, splits.noise.labels)
    for loader in (data.train_eval_dataloader(), data.predict_dataloader()):
        assert torch.equal(torch.cat([labels for _, labels, _ in loader]), splits.train.labels)
    clean = splits_of()
    assert clean.noise is None
    for part, own in splits.parts.items():
        assert torch.equal(own.labels, clean.parts[part].labels)


def test_it_leaves_the_wrong_labels_with_the_true_ones(noisy: Outcome) -> None:
    splits = noisy.data.splits
    with (noisy.folder / "label_noise.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["position"]) for row in rows] == splits.noise.noisy.nonzero()[:, 0].tolist()
    for row in rows:
        position = int(row["position"])
        assert row["path"] == ""
        assert row["label"] == splits.train.classes[splits.noise.labels[position]]
        assert row["true_label"] == splits.train.classes[splits.train.labels[position]]
    assert noisy.metrics["train/noisy_labels"] == 18
    assert json.loads((noisy.folder / "run.json").read_text())["data"]["content"]["label_noise"][0] == 18
    assert splits.said().endswith("; 18 of 90 training labels are wrong (dataset.label_noise)")


def test_an_evaluation_of_it_goes_by_true_labels(noisy: Outcome) -> None:
    outcome = evaluate(run=noisy.folder)
    own = {key: value for key, value in noisy.metrics.items() if key.startswith("test/")}
    assert outcome.metrics == own
    assert not (outcome.folder / "label_noise.csv").exists()
    with pytest.raises(InputError, match=r"only training reads dataset\.label_noise"):
        evaluate(["dataset.label_noise=0.4"], run=noisy.folder)


def test_the_seed_alone_decides_so_that_losses_are_paired() -> None:
    first = splits_of(NOISE, "loss=contrastive").fingerprint["content"]
    assert splits_of(NOISE, "loss=arcface", "miner=none", "trainer.max_epochs=7").fingerprint["content"] == first
    assert splits_of(NOISE, "seed=1").fingerprint["content"] != first
    assert splits_of().fingerprint["content"] == {k: v for k, v in first.items() if k != "label_noise"}


def test_the_identity_tells_noisy_from_clean_and_a_share_of_0_is_none() -> None:
    def of(*words: str) -> str:
        return identity(plain(COMPOSER([*TINY, *words])))

    assert of("dataset.label_noise=0") == of() == of("dataset.label_noise=0", "dataset.label_noise_pairs={0: 1}")
    noisy = (of(NOISE), of("dataset.label_noise=0.4"), of(NOISE, "dataset.label_noise_pairs={0: 1}"))
    assert len({of(), *noisy, of(NOISE, "dataset.label_noise_pairs={1: 0}")}) == 5
    assert splits_of("dataset.label_noise=0").noise is None


def test_folds_and_disjoint_classes_draw_from_their_own_train_part() -> None:
    words = ("dataset.protocol=class_disjoint", "dataset.validation=0", "dataset.label_noise=0.5")
    splits = splits_of(*words, "dataset.label_noise_pairs={class 0: class 2}")
    assert splits.noise.count == 20
    assert splits.train.classes == ("class 0", "class 1", "class 2")
    with pytest.raises(InputError, match="training has no class class 4; did you mean"):
        splits_of(*words, "dataset.label_noise_pairs={class 0: class 4}")


def test_image_files_are_named(tmp_path: Path) -> None:
    for label in range(2):
        for number in range(10):
            layouts.image(tmp_path / "photos" / f"kind {label}" / f"{number}.png", label, number)
    words = ["dataset=folder", f"dataset.path={tmp_path}/photos", "dataset.validation=0", "dataset.label_noise=0.25"]
    config = plain(COMPOSER([*words, "trainer=cpu"]))
    splits = load_splits(config["dataset"], 0)
    write_label_noise(tmp_path / "noise.csv", splits.noise, splits.train, splits.file_names("train"))
    rows = (tmp_path / "noise.csv").read_text().splitlines()
    assert rows[0] == "position,path,label,true_label"
    assert len(rows) == 5
    for row in rows[1:]:
        _, path, label, true = row.split(",")
        assert path.startswith(f"{true}/")
        assert {label, true} == {"kind 0", "kind 1"}


def test_a_class_that_lost_all_its_samples_is_in_no_batch() -> None:
    words = ["dataset.label_noise=0.999", "dataset.label_noise_pairs={0: 1}", "sampler.classes_per_batch=4"]
    data = data_of(plain(COMPOSER([*TINY, *words])))
    assert set(data.splits.noise.labels.tolist()) == {1, 2, 3, 4}
    assert data.num_classes == 5
    assert len(data.train_batch_sampler) > 0
    with pytest.raises(InputError, match=r"sampler\.classes_per_batch=5, but the train split has 4 classes"):
        data_of(plain(COMPOSER([*TINY, *words[:2], "sampler.classes_per_batch=5"])))


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["dataset.label_noise=1"], "dataset.label_noise=1: it has to be a share of at least 0 and below 1"),
        (["dataset.label_noise=-0.5"], "dataset.label_noise=-0.5: it has to be a share"),
        (["dataset.label_noise=true"], "dataset.label_noise=true: it has to be a share"),
        (["dataset.label_noise=some"], "dataset.label_noise=some: it has to be a share"),
        (["dataset.label_noise={share: 0.2}"], "dataset.label_noise={'share': 0.2}: it has to be a share"),
        (["dataset.label_noise_pairs={0: 1}"], "dataset.label_noise_pairs={0: 1} has no effect alone: set dataset."),
        ([NOISE, "dataset.label_noise_pairs=[a,b]"], r"dataset.label_noise_pairs=['a', 'b']: it has to be a mapping"),
        ([NOISE, "dataset.label_noise_pairs={0: [1, 2]}"], "dataset.label_noise_pairs={0: [1, 2]}: it has to be a map"),
        ([NOISE, "dataset.label_noise_pairs={0: null}"], "dataset.label_noise_pairs={0: None}: it has to be a mapping"),
    ],
)
def test_keys_that_cannot_be_are_refused_before_anything_loads(words: list[str], line: str) -> None:
    with pytest.raises(InputError) as error:
        check(COMPOSER([*TINY, *words]))
    assert str(error.value).startswith(line)


def test_a_data_set_of_ones_own_takes_it_with_a_plus(tmp_path: Path) -> None:
    (tmp_path / "dataset").mkdir()
    own = {"_target_": "metriscope.data.datasets.synthetic.load", "name": "mine", "protocol": "closed_set"}
    (tmp_path / "dataset" / "mine.yaml").write_text(f"# @package _global_\n# Mine.\n{yaml.safe_dump({'dataset': own})}")
    assert compose_config(["dataset=mine", f"+{NOISE}"], tmp_path).dataset.label_noise == 0.2
    with pytest.raises(InputError, match=r"no such key; add it, \+dataset\.label_noise=0\.2"):
        compose_config(["dataset=mine", NOISE], tmp_path)
