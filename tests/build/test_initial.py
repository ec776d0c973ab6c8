"""Runs that begin from the weights of another run."""

import json
import logging
import shutil

import pytest
import pytorch_lightning as pl
import torch
from forks import DDP, on_ranks, started
from interruptions import At, interrupt, record, same, state, stopped, the_folder, traces

from metriscope.app import train
from metriscope.build.run import data_of, learner_of
from metriscope.config.plain import plain
from metriscope.errors import InputError
from metriscope.run.identity import located
from metriscope.run.record import FORMAT
from metriscope.run.source import source_of
from metriscope.training.checkpoints import FORMAT as OF_CHECKPOINTS


@pytest.fixture
def lines(caplog):
    """What was said of first weights."""
    caplog.set_level(logging.INFO, "metriscope.build.initial")
    return lambda: [one.getMessage() for one in caplog.records if one.name == "metriscope.build.initial"]


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Finished runs by their words, for tests that only read them."""
    return tmp_path_factory.mktemp("kept"), {}


@pytest.fixture
def source(tiny, kept):
    """The folder of a finished run of one epoch."""
    place, found = kept

    def go(*words):
        if words not in found:
            cfg = tiny("trainer.max_epochs=1", *words)
            cfg.paths.output_dir = str(place)
            found[words] = train(cfg).folder
        return found[words]

    return go


@pytest.fixture
def begun(tiny, watch):
    """The weights that a run begins with, and its folder; it is stopped after its first step."""

    def go(*words):
        weights = {}

        class Look(pl.Callback):
            def on_train_start(self, trainer, pl_module):
                weights.update({key: value.clone() for key, value in pl_module.state_dict().items()})

        watch(Look(), At(interrupt(), step=0))
        folder = stopped(tiny, *words)
        watch()
        return weights, folder

    return go


def fresh(tiny, *words):
    """The weights of a run that begins from nothing."""
    config = plain(tiny(*words))
    return learner_of(config, data_of(config)).state_dict()


def equal(one, other, part):
    keys = [key for key in one if key.startswith(part)]
    assert keys
    return all(torch.equal(one[key], other[key]) for key in keys)


PROXIES = "objective.loss."


def test_all_that_fits_is_taken(source, begun, tiny, lines):
    there = source("loss=proxy_anchor")
    weights, folder = begun("loss=proxy_anchor", "seed=1", f"init={there}", "optimizer=sgd")
    wanted = state(there, "best")["state_dict"]
    assert equal(weights, wanted, "")
    assert lines() == [f"init={there}: trunk, head and loss parameters taken from best.ckpt of epoch 0"]
    last = state(folder)
    assert (last["epoch"], last["global_step"]) == (0, 1), "from the first step on"
    found = record(folder)["init"]
    assert (found["folder"], found["checkpoint"], found["epoch"]) == (str(there), "best.ckpt", 0)
    assert found["digest"] in (there / "checkpoints" / "best.ckpt").read_bytes()[-100:].decode(errors="replace")


def test_the_last_checkpoint_where_nothing_selects_a_best(source, begun, lines):
    there = source("dataset.validation=0")
    begun(f"init={there}")
    assert lines() == [f"init={there}: trunk and head taken from last.ckpt of epoch 0"]


def test_a_source_that_has_not_finished(tiny, watch, begun, lines):
    """Its best checkpoint, once there is one; before that its last."""
    for seed, (step, checkpoint) in enumerate([(2, "last.ckpt"), (7, "best.ckpt")], start=1):
        watch(At(interrupt(), step=step))
        there = stopped(tiny)
        begun(f"init={there}", f"seed={seed}")
        assert lines()[-1] == f"init={there}: trunk and head taken from {checkpoint} of epoch 0"


@pytest.mark.parametrize(
    ("words", "taken", "why"),
    [
        (
            ["head.size=8"],
            "trunk",
            "the head begins anew (head.weight is (6, 12) there and (8, 12) here); "
            "loss parameters begin anew (loss.proxies is (5, 6) there and (5, 8) here)",
        ),
        (["dataset.classes=4"], "trunk and head", "loss parameters begin anew (5 classes there, 4 here)"),
        (["loss=proxy_nca"], "trunk and head", "loss parameters begin anew (proxy_anchor there, proxy_nca here)"),
    ],
    ids=lambda words: words[0] if isinstance(words, list) else None,
)
def test_what_does_not_fit_begins_anew(source, begun, tiny, lines, words, taken, why):
    there = source("loss=proxy_anchor")
    words = ["loss=proxy_anchor", *words]
    weights, _ = begun(*words, f"init={there}")
    (line,) = lines()
    assert line == f"init={there}: {taken} taken from best.ckpt of epoch 0; {why}"
    from_nothing, wanted = fresh(tiny, *words), state(there, "best")["state_dict"]
    assert equal(weights, wanted, "embedder.trunk.")
    assert equal(weights, wanted if "head" in taken else from_nothing, "embedder.head.")
    assert equal(weights, from_nothing, PROXIES)


def test_state_of_samples_is_taken_on_the_same_data_alone(source, begun, lines):
    words = ["loss=sum", "loss.losses=[{name: remembering, _target_: toy_parts.Remembering, weight: 1.0}]"]
    there = source(*words)
    taken, _ = begun(*words, f"init={there}", "seed=1", "dataset.validation=0.1")
    anew, _ = begun(*words, f"init={there}", "dataset.data_seed=1")
    costs = [weights["objective.objectives.0.loss.state.cost"] for weights in (taken, anew)]
    assert torch.equal(costs[0], state(there, "best")["state_dict"]["objective.objectives.0.loss.state.cost"])
    assert costs[1].eq(1).all()
    assert lines() == [
        f"init={there}: trunk, head and loss parameters taken from best.ckpt of epoch 0",
        f"init={there}: trunk and head taken from best.ckpt of epoch 0; "
        "state of samples begins anew (the data are others: values differ there)",
    ]


def test_published_weights_are_not_loaded(source, begun, tmp_path, lines):
    there = source()
    weights, _ = begun(f"init={there}", f"backbone.weights={tmp_path / 'nowhere.pt'}", "seed=1")
    assert equal(weights, state(there, "best")["state_dict"], "embedder.trunk.")
    assert lines()[0].endswith(f"; backbone.weights={tmp_path / 'nowhere.pt'} is not loaded")


def test_a_frozen_trunk_whose_features_are_cached(source, tiny, tmp_path):
    there = source()
    words = ["backbone.freeze=true", "backbone.cache_features=true", f"init={there}"]
    cfg = tiny(*words, "trainer.max_epochs=1")
    cfg.paths.cache_dir = str(tmp_path / "cache")
    folder = train(cfg).folder
    assert equal(state(folder)["state_dict"], state(there, "best")["state_dict"], "embedder.trunk.")
    assert list((tmp_path / "cache").rglob("*.array"))


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (
            ["backbone.widths=[16]"],
            r"body\.1\.weight is \(12, 8\) there and \(16, 8\) here: set backbone\.widths=\[12\]",
        ),
        (
            ["backbone.widths=[12,4]"],
            r"body\.4\.weight is \(4, 12\) here and missing there: set backbone\.widths=\[12\]",
        ),
        (["dataset.dimension=9"], r"body\.1\.weight .* here: the inputs have another shape, .*"),
    ],
    ids=lambda words: words[0] if isinstance(words, list) else None,
)
def test_another_trunk_is_refused(source, tiny, words, what):
    there = source()
    with pytest.raises(InputError, match=rf"^init={there}: the trunk is another one, trunk\.{what}$"):
        train(tiny(*words, f"init={there}"))


def later(folder):
    written = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(written | {"format": FORMAT + 1}))


def of_later_checkpoints(folder):
    path = folder / "checkpoints" / "best.ckpt"
    content = torch.load(path, weights_only=True)
    torch.save(content | {"metriscope": {"format": OF_CHECKPOINTS + 1}}, path)


def flip(folder):
    path = folder / "checkpoints" / "best.ckpt"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (shutil.rmtree, ": no such folder; give the folder of a run, .*"),
        (lambda folder: (folder / "run.json").unlink(), r" is no run, it has no run\.json: .*"),
        (lambda folder: (folder / "run.json").write_text("{"), r": its run\.json is not readable .*; give another run"),
        (later, r": its run\.json was written by a later version .*\); give another run"),
        (lambda folder: (folder / "checkpoints" / "best.ckpt").unlink(), r": there is no checkpoints/best\.ckpt .*"),
        (flip, r": best\.ckpt is damaged: its bytes are not .*"),
        (lambda folder: (folder / "checkpoints" / "best.ckpt").write_bytes(b"abc"), r": best\.ckpt is .*"),
        (of_later_checkpoints, r": best\.ckpt: the checkpoint has format .*: update metriscope"),
    ],
)
def test_a_run_that_nothing_can_be_taken_from(source, tiny, tmp_path, spoil, why):
    there = shutil.copytree(source(), tmp_path / "copy")
    spoil(there)
    with pytest.raises(InputError, match=rf"^init={there}{why}$"):
        train(tiny(f"init={there}"))


def test_a_file_and_the_own_folder_are_refused(source, tiny):
    there = source()
    with pytest.raises(InputError, match=r"^init=.*best\.ckpt is a file: give the folder of a run, .*"):
        train(tiny(f"init={there}/checkpoints/best.ckpt"))
    with pytest.raises(InputError, match=r"is the folder of this very run: give that of another, or set init=null$"):
        source_of(there, there)


@pytest.mark.parametrize("value", ["3", "''", "[a]"])
def test_what_is_no_folder(tiny, value):
    with pytest.raises(InputError, match=r"^init=.*: it has to be the folder of a run, or null$"):
        train(tiny(f"init={value}"))


def test_a_stopped_run_goes_on_without_the_source(source, tiny, watch, tmp_path):
    there = shutil.copytree(source(), tmp_path / "copy")
    words = [f"init={there}", "seed=1", "miner=random"]
    whole = train(tiny(*words)).folder
    wanted = traces(whole)
    shutil.rmtree(whole)
    watch(At(interrupt(), step=6))
    folder = stopped(tiny, *words)
    before = record(folder)["init"]
    shutil.rmtree(there)
    watch()
    # Its name says nothing, so that the folder is found by the path.
    assert train(tiny(*words)).folder == folder
    same(traces(folder), wanted)
    assert record(folder)["init"] == before
    assert not train(tiny(*words)).trained


def test_a_source_that_moves_is_the_same(source, tiny, tmp_path, monkeypatch, watch):
    original = source()
    first = the_folder(tiny(f"init={original}"))
    moved = shutil.copytree(original, tmp_path / "elsewhere" / original.name)
    renamed = shutil.copytree(original, tmp_path / "pretrained")
    monkeypatch.chdir(tmp_path)
    for place in (moved, renamed, "pretrained", f"elsewhere/{original.name}"):
        assert the_folder(tiny(f"init={place}")) == first
    assert located(plain(tiny("init=pretrained")))["init"] == str(renamed)
    assert the_folder(tiny("init=null")) == the_folder(tiny()) != first
    shutil.rmtree(moved)
    assert the_folder(tiny(f"init={moved}")) == first, "by its name, once it is gone"


def test_a_source_that_was_trained_anew_is_one_line(source, tiny, tmp_path):
    there = shutil.copytree(source(), tmp_path / source().name)
    words = ["trainer.max_epochs=1", "seed=1", f"init={there}"]
    assert train(tiny(*words)).trained
    assert not train(tiny(*words)).trained
    path = there / "checkpoints" / "best.ckpt"
    torch.save(torch.load(path, weights_only=True), path)
    line = rf"^init={there} is not what .* began with, it was trained since: restore it, or set resume=never .*$"
    with pytest.raises(InputError, match=line):
        train(tiny(*words))
    assert train(tiny(*words, "resume=never")).trained


def test_two_processes_begin_alike(source, tiny):
    there = source()
    cfg = tiny(*DDP, f"init={there}", "trainer.max_epochs=1", "optimizer.lr=0", "evaluation.batch_size=50")
    on_ranks(lambda: train(cfg), ready=started(cfg))
    found = state(the_folder(cfg))["state_dict"]
    assert equal(found, state(there, "best")["state_dict"], "embedder.head.")


def test_a_longer_run_takes_the_shorter_one_with_its_source(source, tiny):
    there = source()
    words = [f"init={there}", "seed=1"]
    shorter = train(tiny(*words, "trainer.max_epochs=1")).folder
    longer = train(tiny(*words)).folder
    assert record(longer)["extends"] == shorter.name
    assert record(longer)["init"] == record(shorter)["init"]
