"""Two label sets: fine classes that lie in superclasses, which of them trains, which is evaluated, how parts divide."""

from pathlib import Path
from typing import Any

import layouts
import pytest
import torch
from tiny_runs import COMPOSER, TINY
from torch import Tensor

from metriscope.app import train
from metriscope.build.run import data_of, learner_of
from metriscope.config.plain import plain
from metriscope.config.rules import check
from metriscope.data.datasets import synthetic
from metriscope.data.examples import Examples, Source
from metriscope.data.fingerprint import difference
from metriscope.data.loading import load_splits, with_label_sets
from metriscope.data.splits import Splits, split
from metriscope.errors import InputError
from metriscope.evaluating import evaluate
from metriscope.run.identity import identity

SIX = ("dataset.classes=6", "dataset.superclasses=3")
COARSE = "dataset.train_labels=coarse"


def section(*words: str) -> dict[str, Any]:
    return plain(COMPOSER([*TINY, *words]))


def splits_of(*words: str) -> Splits:
    return load_splits(section(*words)["dataset"], 0)


def test_centres_of_synthetic_classes_lie_around_those_of_superclasses() -> None:
    source = synthetic.load(
        classes=12, superclasses=4, per_class=1, dimension=16, intra=0, inter=3.0, inter_within=0.25
    )
    centres = source.train.inputs
    assert isinstance(centres, Tensor)
    coarse = centres.view(4, 3, 16).mean(1)
    assert float((centres.view(4, 3, 16) - coarse[:, None]).square().sum(2).mean()) == pytest.approx(0.75, rel=1e-5)
    assert float((coarse - coarse.mean(0)).square().sum(1).mean()) == pytest.approx(2.25, rel=1e-5)
    assert source.train.superclasses == tuple(f"superclass {c // 3}" for c in range(12))
    default = synthetic.load(classes=12, superclasses=4, per_class=1, dimension=16, intra=0, inter=3.0)
    other = synthetic.load(classes=12, superclasses=4, per_class=1, dimension=16, intra=0, inter=3.0, inter_within=0.2)
    assert torch.equal(default.train.inputs, other.train.inputs)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ({"superclasses": 4}, "dataset.superclasses=4: 10 classes cannot be divided among them"),
        ({"superclasses": 10}, "dataset.superclasses=10: 10 classes cannot be divided among them"),
        ({"superclasses": 1}, "superclasses=1: it has to be a whole number of at least 2"),
        ({"inter_within": 0.5}, "dataset.inter_within=0.5 has no effect without dataset.superclasses: set both"),
        ({"superclasses": 5, "inter_within": 1.0}, "inter_within=1.0: it has to be a number above 0 and below 1"),
    ],
)
def test_synthetic_superclasses_that_cannot_be_are_refused(words: dict[str, Any], line: str) -> None:
    with pytest.raises(InputError) as error:
        synthetic.load(**words)
    assert str(error.value).startswith(line)


def test_training_uses_one_set_and_evaluation_the_other() -> None:
    config = section(*SIX, COARSE, "dataset.label_noise=0.1", "loss=arcface", "miner=none")
    data = data_of(config)
    splits = data.splits
    assert splits.train.classes == ("superclass 0", "superclass 1", "superclass 2")
    assert splits.test.classes == tuple(f"class {c}" for c in range(6))
    assert data.num_classes == 3
    assert learner_of(config, data).objective.loss.num_classes == 3
    for _, labels, index in data.train_dataloader():
        assert torch.equal(labels, splits.noise.labels[index])
    # References of k-NN and the linear probe are of the evaluated set.
    for loader in (data.train_eval_dataloader(), data.predict_dataloader()):
        labels = torch.cat([labels for _, labels, _ in loader])
        assert torch.equal(labels // 2, splits.train.labels)
        assert labels.unique().tolist() == [0, 1, 2, 3, 4, 5]
    # The loss of validation knows coarse classes alone.
    assert torch.equal(splits.labels_to_validate_on, splits.validation.labels // 2)
    assert splits.said().endswith(
        "; trained on coarse labels, evaluated by fine ones; 11 of 108 training labels are wrong (dataset.label_noise)"
    )


def test_the_data_are_the_same_whichever_labels_are_used() -> None:
    plain_, coarse, both = (
        splits_of(*SIX, *words) for words in ((), (COARSE,), (COARSE, "dataset.test_labels=coarse"))
    )
    assert torch.equal(plain_.train.inputs, coarse.train.inputs)
    assert plain_.fingerprint == coarse.fingerprint == both.fingerprint
    assert both.test.classes == both.train.classes
    assert torch.equal(both.references.labels, both.train.labels)
    other = splits_of("dataset.classes=6", "dataset.superclasses=2", COARSE).fingerprint
    assert difference(coarse.fingerprint, other) == "superclasses differ"
    assert "superclasses" not in splits_of().fingerprint["content"]


def test_class_disjoint_parts_share_no_superclass() -> None:
    words = ("dataset.classes=24", "dataset.superclasses=8", "dataset.protocol=class_disjoint", "dataset.per_class=4")
    seen = []
    for fold in range(2):
        splits = splits_of(*words, f"dataset.fold={fold}")
        parts = splits.sets.parts
        units = {name: set(part.units) for name, part in parts.items()}
        assert units["test"] == {f"superclass {c}" for c in range(4, 8)}
        assert not units["train"] & units["validation"]
        assert [part.num_classes for part in parts.values()] == [6, 6, 12]
        seen += sorted(units["validation"])
    assert seen == [f"superclass {c}" for c in range(4)]
    with pytest.raises(InputError, match=r"dataset\.protocol=class_disjoint leaves 2 superclasses to train and 1 to"):
        splits_of(*SIX, "dataset.protocol=class_disjoint")
    with pytest.raises(InputError, match=r"holds out 2 of 3 train superclasses and leaves fewer than 2"):
        splits_of("dataset.classes=12", "dataset.superclasses=6", "dataset.protocol=class_disjoint")


def examples(classes: str, above: str | None) -> Examples:
    labels = torch.arange(len(classes)).repeat_interleave(3)
    return Examples(torch.zeros(len(labels), 1), labels, tuple(classes), None if above is None else tuple(above))


def test_published_halves_are_kept_where_they_share_no_superclass() -> None:
    kept = split(Source(examples("abcd", "xxyy"), examples("ef", "zw")), "class_disjoint", validation=0)
    assert kept.train.classes == tuple("abcd")
    # Classes c and e lie in y: the halves are pooled, and superclasses divided anew.
    source = Source(examples("abcd", "xxyz"), examples("efg", "yww"))
    pooled = split(source, "class_disjoint", validation=0)
    assert (pooled.train.classes, pooled.test.classes) == (tuple("abce"), tuple("dfg"))
    assert pooled.test.superclasses == tuple("zww")
    with pytest.raises(InputError, match=r"the class 'a' lies in the superclass 'x' and in 'y': each has one"):
        Source(examples("ab", "xx"), examples("ac", "yx"))
    with pytest.raises(InputError, match="some parts of the data have superclasses and others have none"):
        Source(examples("ab", "xx"), examples("ab", None))
    with pytest.raises(InputError, match="2 classes but 1 superclasses: one per class"):
        examples("ab", "x")


def test_coarse_labels_that_there_are_not_are_refused_in_one_line() -> None:
    for key in ("train_labels", "test_labels"):
        with pytest.raises(InputError, match=rf"^dataset\.{key}=coarse: these data have one set of labels; set "):
            splits_of(f"dataset.{key}=coarse")
        with pytest.raises(InputError, match=rf"^dataset\.{key}=corse: it has to be one of fine, coarse; did you mean"):
            check(COMPOSER([*TINY, f"dataset.{key}=corse"]))
    assert splits_of("dataset.train_labels=fine").sets is None
    one = split(Source(examples("ab", "xx"), test_share=0.4), "closed_set", validation=0)
    with pytest.raises(InputError, match=r"dataset\.train_labels=coarse: the train part has 1 superclass"):
        with_label_sets(one, "coarse", "fine")


def test_the_identity_is_that_of_a_run_without_the_keys() -> None:
    plain_ = section()
    keys = ("train_labels", "test_labels", "superclasses", "inter_within")
    before = {**plain_, "dataset": {key: value for key, value in plain_["dataset"].items() if key not in keys}}
    assert identity(plain_) == identity(before)
    assert identity(section(*SIX, "dataset.train_labels=fine")) == identity(section(*SIX))
    assert len({identity(section(*SIX, *words)) for words in ((), (COARSE,), ("dataset.test_labels=coarse",))}) == 3


def rows(*lines: str) -> str:
    return "\n".join(["path,model,make,split", *lines]) + "\n"


def test_a_csv_file_has_a_column_of_superclasses(tmp_path: Path) -> None:
    for name in "abcdefgh":
        layouts.image(tmp_path / f"{name}.png", 0, 0)
    file = tmp_path / "cars.csv"
    file.write_text(rows("a.png,m3,bmw,train", "b.png,m3,bmw,train", "c.png,tt,audi,train", "d.png,m3,bmw,test"))
    csv = ("dataset=csv", f"dataset.path={file}", "dataset.label=model", "dataset.validation=0")
    words = (*csv, "dataset.coarse_label=Make", COARSE)
    splits = load_splits(plain(COMPOSER(words))["dataset"], 0)
    assert splits.train.classes == ("bmw", "audi")
    assert splits.references.classes == splits.test.classes == ("m3", "tt")
    assert splits.train.labels.tolist() == [0, 0, 1]
    file.write_text(rows("a.png,m3,bmw,train", "b.png,tt,audi,train", "c.png,m3,audi,test"))
    line = r"cars.csv line 4: class 'm3' lies in 'audi' here, and in 'bmw' in line 2: it has to lie in one$"
    with pytest.raises(InputError, match=line):
        load_splits(plain(COMPOSER(words))["dataset"], 0)
    file.write_text(rows("a.png,m3,,train"))
    with pytest.raises(InputError, match=r"cars.csv line 2 has no coarse class \(dataset.coarse_label\)$"):
        load_splits(plain(COMPOSER(words))["dataset"], 0)
    with pytest.raises(InputError, match=r"^dataset\.coarse_label=maker: .* has no such column, only path,model,make"):
        load_splits(plain(COMPOSER((*csv, "dataset.coarse_label=maker")))["dataset"], 0)


def test_nested_folders_name_superclasses(tmp_path: Path) -> None:
    for kind in ("cat/tabby", "cat/siam", "dog/pug", "dog/chow"):
        for number in range(5):
            layouts.image(tmp_path / "pets" / kind / f"{number}.png", 0, number)
    words = ["dataset=folder", f"dataset.path={tmp_path}/pets", "dataset.superclasses=true", "dataset.validation=0"]
    splits = load_splits(plain(COMPOSER([*words, COARSE]))["dataset"], 0)
    assert splits.train.classes == ("cat", "dog")
    assert splits.test.classes == ("cat/siam", "cat/tabby", "dog/chow", "dog/pug")
    layouts.image(tmp_path / "pets" / "bird" / "0.png", 0, 0)
    with pytest.raises(InputError, match=r"the folder of class 'bird' lies in no folder of a superclass"):
        load_splits(plain(COMPOSER([*words, "dataset.nested=true"]))["dataset"], 0)


def test_a_run_trains_on_coarse_labels_and_its_evaluation_may_go_by_either(tmp_path: Path) -> None:
    words = (
        *TINY,
        *SIX,
        COARSE,
        "trainer.max_epochs=1",
        "evaluation.classification=auto",
        f"paths.output_dir={tmp_path}",
    )
    run = train(COMPOSER(words))
    assert run.metrics["train/loss"] > 0
    again = evaluate(run=run.folder)
    assert {key: value for key, value in run.metrics.items() if key.startswith("test/")} == again.metrics
    coarse = evaluate(["dataset.test_labels=coarse"], run=run.folder)
    assert coarse.folder != again.folder
    assert coarse.metrics["test/knn_accuracy"] > again.metrics["test/knn_accuracy"]
    assert coarse.metrics["test/recall_at_1"] > again.metrics["test/recall_at_1"]
    with pytest.raises(InputError, match=r"only training reads dataset\.train_labels"):
        evaluate(["dataset.train_labels=fine"], run=run.folder)
