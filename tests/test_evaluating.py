"""Evaluation without training: the figures of a run again, other data, pretrained trunks, and what is refused."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from pytorch_lightning import Callback
from tiny_runs import COMPOSER, TINY

from metriscope.app import train
from metriscope.build.run import network_of
from metriscope.build.trained import read_trained
from metriscope.callbacks.evaluation import EvaluationMonitor
from metriscope.cli import run
from metriscope.config.plain import plain
from metriscope.errors import InputError
from metriscope.evaluating import _Weights, evaluate
from metriscope.reports.comparison import compare
from metriscope.run.identity import name_without_seed
from metriscope.run.study import load_study
from metriscope.sweeps.states import states_of

EVERYTHING = ("evaluation.classification=true", "evaluation.per_class=true", "evaluation.save_embeddings=true")
DISJOINT = "dataset.protocol=class_disjoint"
EVERYTHING += ("evaluation.layers=[trunk,embedding]", "evaluation.metrics.clustering=true")


class Told(Callback):
    """A callback of one's own that logs a figure of the test set."""

    def on_test_epoch_end(self, trainer, pl_module):
        pl_module.log("test/told", float(pl_module.evaluated.embeddings.sum()))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a run that did everything, on one thread as all that follows."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    cfg = COMPOSER([*TINY, *EVERYTHING, f"+callbacks.told._target_={__name__}.Told"])
    cfg.paths.output_dir = str(tmp_path_factory.mktemp("trained") / "outputs")
    yield train(cfg).folder
    torch.set_num_threads(threads)


@pytest.fixture
def copied(trained, tmp_path):
    """The same run in a study of its own."""
    study = tmp_path / "outputs" / "moved"
    return Path(shutil.copytree(trained, study / Path(*trained.parts[-3:])))


@pytest.fixture
def weights(tmp_path, one_thread):
    """A file of weights for the trunk of tiny runs, and the words that evaluate it."""
    config = plain(COMPOSER(TINY))
    path = tmp_path / "trunk.pth"
    torch.save(network_of(config, (8,)).trunk.state_dict(), path)
    words = [word for word in TINY if not word.startswith(("head", "sampler", "trainer.max_epochs"))]
    return [*words, f"backbone.weights={path}", f"paths.output_dir={tmp_path / 'outputs'}"]


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def of_test(metrics):
    return {key: value for key, value in metrics.items() if key.startswith("test/")}


def record(folder):
    return json.loads((folder / "run.json").read_text())


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_the_figures_of_a_run_are_those_of_its_own_test(copied, capsys):
    figures = json.loads((copied / "summary.json").read_text())
    outcome = evaluate(run=copied)
    assert outcome.metrics == json.loads((outcome.folder / "summary.json").read_text()) == of_test(figures)
    assert {"test/told", "test/knn_accuracy", "test/nmi", "test/recall_at_1_trunk", "test/variance_intra"} < set(
        outcome.metrics
    )
    for name in ("embeddings.npz", "per_class.csv"):
        assert (outcome.folder / name).read_bytes() == (copied / name).read_bytes()
    assert "results: closed set, " in capsys.readouterr().out
    written = outcome.folder / "summary.json"
    before = written.stat().st_mtime_ns
    assert evaluate(run=copied).metrics == outcome.metrics
    assert written.stat().st_mtime_ns == before
    assert "finished before" in capsys.readouterr().out
    again = evaluate(run=copied)
    assert again.trainer.test(again.module, again.data, verbose=False)[0].items() <= outcome.metrics.items()


def test_it_leaves_a_run_folder_in_the_study_of_the_run(copied):
    outcome = evaluate(run=copied)
    own, config = yaml.safe_load((copied / "config.yaml").read_text()), (outcome.folder / "config.yaml").read_text()
    assert outcome.folder.parents[2] == copied.parents[2]
    assert outcome.folder.parent.name == "triplet-all-evaluated"
    found = yaml.safe_load(config)
    assert found.pop("evaluates").startswith("synthetic-mlp/triplet-all/")
    assert found["study"] == "moved"
    assert {**found, "study": own["study"], "paths": own["paths"], "callbacks": own["callbacks"]} == own
    kept = record(outcome.folder)
    assert (kept["status"], kept["epochs"], kept["seed"]) == ("finished", None, 0)
    assert kept["data"]["content"] == record(copied)["data"]["content"]
    assert {state.status for state in states_of(copied.parents[2])} == {"finished"}


def test_an_interrupted_evaluation_is_given_again(copied, monkeypatch):
    def stopped(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(EvaluationMonitor, "finish", stopped)
        with pytest.raises(KeyboardInterrupt, match="the same command resumes"):
            evaluate(run=copied)
    (folder,) = copied.parents[1].glob("triplet-all-evaluated/*")
    assert record(folder)["status"] == "interrupted"
    assert not (folder / "summary.json").exists()
    assert evaluate(run=copied).folder == folder
    assert record(folder)["status"] == "finished"


def test_embeddings_that_were_not_asked_for_are_written_when_they_are(copied):
    first = evaluate(["evaluation.save_embeddings=false"], copied)
    assert not (first.folder / "embeddings.npz").exists()
    second = evaluate(run=copied)
    assert (second.folder, second.metrics) == (first.folder, first.metrics)
    assert (second.folder / "embeddings.npz").is_file()


def test_other_data_and_other_metrics(copied):
    words = ["dataset.classes=7", "dataset.data_seed=1", "evaluation.metrics.recall_at.k=[3]", "study=others"]
    outcome = evaluate(words, copied)
    assert "test/recall_at_3" in outcome.metrics
    assert "test/recall_at_1" not in outcome.metrics
    assert outcome.folder.parents[2] == copied.parents[3] / "others"
    assert record(outcome.folder)["data"]["content"]["classes"] == 7


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["loss=arcface"],
            "loss=arcface has no effect: only training reads loss, and nothing is trained; leave it out",
        ),
        (["optimizer.lr=1"], "optimizer.lr=1 has no effect: only training reads optimizer"),
        (["evaluation.monitor=val/mrr"], "only training reads evaluation.monitor"),
        (["trainer.max_epochs=3"], "only training reads trainer.max_epochs"),
        (["backbone=resnet50"], "backbone=resnet50: the weights are those of the run, and so is its backbone"),
        (["head.size=3"], "head.size=3: the weights are those of the run, and so is its head"),
        (["seed=3"], "seed=3: the weights are those of the run, and so is its seed"),
        (["dataset.classes=7,8"], "dataset.classes=7,8 gives several values"),
        (["dataset.clases=7"], "dataset.clases: the run has no such key; did you mean 'dataset.classes'?"),
        (["dataset=digit"], "dataset=digit: no such choice; did you mean 'digits'?"),
        (["dataset=digits"], "dataset=digits has images, and "),
        (
            ["dataset.dimension=9"],
            "does not take these inputs: its trunk.body.1.weight is (12, 8), and they",
        ),
        (
            [
                "dataset.protocol=class_disjoint",
                "evaluation.classification=auto",
                "evaluation.metrics.knn_accuracy.k=3",
            ],
            "evaluation.metrics.knn_accuracy is fitted on a training set of the same classes, and there is none with "
            "dataset.protocol=class_disjoint",
        ),
    ],
)
def test_words_that_do_not_fit_a_run(trained, tmp_path, words, said):
    with pytest.raises(InputError) as refused:
        evaluate([*words, f"paths.output_dir={tmp_path}"], trained)
    assert said in str(refused.value)


def test_what_is_no_finished_run(copied, tmp_path):
    def refuses(folder, said):
        with pytest.raises(InputError, match=said):
            evaluate(run=folder)

    refuses(tmp_path / "none", "none: there is no such folder; give the folder of a run")
    refuses(copied.parents[2], "is no folder of a run: it holds no run.json; there are runs in it, such as")
    refuses(evaluate(run=copied).folder, "is an evaluation and has no weights of its own: give the run")
    edit(copied / "run.json", lambda content: content.update(status="failed", reason="disk full"))
    refuses(copied, r"is not finished \(failed\): finish it")


def test_weights_that_are_not_those_of_the_run(copied):
    path = copied / "checkpoints" / "best.ckpt"
    evaluate(run=copied)
    path.write_bytes((copied / "checkpoints" / "last.ckpt").read_bytes())
    with pytest.raises(InputError, match=r"is of weights that .* no longer has: set resume=never"):
        evaluate(run=copied)
    flipped = bytearray(path.read_bytes())
    flipped[len(flipped) // 2] ^= 1
    path.write_bytes(flipped)
    with pytest.raises(
        InputError,
        match=r"best.ckpt is damaged: its bytes are not those",
    ):
        evaluate(run=copied)
    path.unlink()
    with pytest.raises(InputError, match=r"best\.ckpt is not there: the run has left no such checkpoint"):
        evaluate(run=copied)


def test_data_that_have_changed_since_the_run(copied):
    edit(copied / "run.json", lambda content: content["data"]["content"].update(labels="others"))
    with pytest.raises(InputError, match=r"the data are not those of .* \(labels differ\): restore them, or"):
        evaluate(run=copied)


@pytest.mark.parametrize(("inputs", "mean"), [({"shape": [3, 8, 8]}, None), ({}, [0.1, 0.2, 0.3])])
def test_images_of_other_channels(trained, tmp_path, monkeypatch, inputs, mean):
    """A run that did not write the shape of its inputs down tells their channels by its mean."""
    found = read_trained(trained)
    config = {**found.config, "dataset": {**found.config["dataset"], "mean": mean, "std": mean}}
    monkeypatch.setattr(
        "metriscope.build.trained.read_trained", lambda folder: found._replace(inputs=inputs, config=config)
    )
    with pytest.raises(InputError, match=r"dataset=digits has images of 1 channels, and .* was trained on 3"):
        evaluate(["dataset=digits", f"paths.output_dir={tmp_path}"], trained)


def test_a_pretrained_trunk_beside_a_run_and_its_evaluation(weights, copied):
    again = evaluate(run=copied)
    zero = evaluate([*weights, "study=moved"])
    assert zero.folder.parents[2] == copied.parents[2]
    assert zero.folder.parent.name == "zero-shot"
    study = load_study(copied.parents[2])
    found = compare(study)
    name = yaml.safe_load((again.folder / "config.yaml").read_text())["evaluates"]
    rows = [tuple(group.values.values()) for group in found.grouping.groups]
    assert found.grouping.by == ["loss.name", "evaluates"]
    assert rows == [("triplet", "-"), ("triplet", name), ("zero-shot", "zero-shot")]
    told = [note for note in found.notes if " differs on " in note]
    assert [note.split(" differs on ")[0] for note in told] == ["backbone", "embedding size"], "and no budget"
    alone = study.finished[-1]
    assert alone.metrics
    assert all(key.startswith("test/") for key in alone.metrics)
    assert alone.record.epochs is None
    assert not [key for key in alone.config if key.startswith(("optimizer.", "sampler.", "loss.margin"))]
    assert run("compare", [str(copied.parents[2])]) == 0


def test_evaluations_of_several_seeds_are_repeats(copied):
    """What tells them from other runs is the same for all seeds."""
    config = yaml.safe_load((copied / "config.yaml").read_text())
    assert name_without_seed(config) == name_without_seed({**config, "seed": 5})
    assert name_without_seed(config) != name_without_seed({**config, "compile": True})


def test_a_run_keeps_its_name_when_the_run_that_it_began_from_is_gone(trained, monkeypatch):
    found = read_trained(trained)

    def name(init, **origin):
        changed = found._replace(
            config={**found.config, "init": init}, record=replace(found.record, init=origin or None)
        )
        monkeypatch.setattr("metriscope.build.trained.read_trained", lambda folder: changed)
        return _Weights(trained).name()

    known = name("/gone/seed0-12345678")
    assert name("/gone/first", folder="/gone/first", run="seed0-12345678") == known
    assert name("/gone/first") != known
    assert name(None) not in (known, name("/gone/first"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["head=linear"], "head=linear: it would be random, as nothing has trained it"),
        (["backbone.weights=null"], "backbone.weights=null: a trunk that was never trained is not evaluated"),
        (["seed=1"], "seed: nothing is drawn where nothing is trained"),
        (["loss=triplet"], "loss=triplet has no effect"),
        (["miner.name=hard"], "miner.name=hard has no effect"),
        (["dataset.dimension=9"], "fill 4 of 5 tensors of the trunk: 1.weight would be random"),
    ],
)
def test_words_that_do_not_fit_a_pretrained_trunk(weights, words, said):
    with pytest.raises(InputError) as refused:
        evaluate([*weights, *words])
    assert said in str(refused.value)
