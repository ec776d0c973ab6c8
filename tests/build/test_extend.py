"""A longer run goes on from a shorter one that has finished, where it then ends as an undisturbed one, bit for bit."""

import json
import logging
import re
import shutil

import pytest
from forks import DDP, on_ranks, started
from interruptions import (
    At,
    folders_of_a_module,  # noqa: F401
    interrupt,
    left_by_undisturbed_runs,  # noqa: F401
    record,
    runs_in_one_folder,  # noqa: F401
    same,
    stopped,
    the_folder,
    traces,
    undisturbed_runs,  # noqa: F401
)

from metriscope.app import train
from metriscope.build.extend import by_length
from metriscope.config.rules import check

AVERAGING = "pytorch_lightning.callbacks.StochasticWeightAveraging"
LONGER = "trainer.max_epochs=3"


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def lines(caplog):
    """What was said of shorter runs."""
    caplog.set_level(logging.INFO, "metriscope.build.extend")
    return lambda: [one.getMessage() for one in caplog.records if one.name == "metriscope.build.extend"]


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return tmp_path_factory.mktemp("kept") / "run"


@pytest.fixture
def shorter(tiny, kept):
    """The folder of a finished run of one epoch, as it was trained once."""
    folder = the_folder(tiny("trainer.max_epochs=1"))
    if kept.exists():
        shutil.copytree(kept, folder)
    else:
        train(tiny("trainer.max_epochs=1"))
        shutil.copytree(folder, kept)
    return folder


@pytest.mark.parametrize(
    "words",
    [
        ["scheduler.warmup_epochs=0.5", "miner=random", "optimizer=sgd"],
        ["scheduler=step", "scheduler.step_size=1", "backbone.freeze_batch_norm=false", "loss=proxy_anchor"],
        ["scheduler=plateau", "scheduler.patience=0", "loss=contrastive", "memory=xbm", "memory.size=24"],
        ["dataset.validation=0", "trainer.accumulate_grad_batches=2"],
    ],
    ids=lambda words: words[0],
)
def test_an_extended_run_is_an_undisturbed_one(tiny, undisturbed, lines, words):
    validates = "dataset.validation=0" not in words
    if validates:
        wanted = undisturbed(LONGER, *words)
    else:
        whole = train(tiny(LONGER, *words)).folder
        wanted = traces_without_best(whole)
        shutil.rmtree(whole)
    shorter = train(tiny(*words)).folder
    before = contents(shorter)
    longer = train(tiny(LONGER, *words)).folder
    assert lines() == [f"goes on from epoch 2 of {shorter}"]
    found = traces(longer) if validates else traces_without_best(longer)
    same(in_its_folder(found, shorter, longer), wanted)
    assert contents(shorter) == before
    found = record(longer)
    assert (found["extends"], found["resumed"], found["epochs"]) == (shorter.name, 1, 3)
    assert found["seconds"] > record(shorter)["seconds"]
    assert not list(longer.rglob("previous.ckpt"))


def test_a_run_that_stopped_early_in_its_last_epoch(tiny, undisturbed):
    """The longer one ends there as well."""
    words = ["callbacks=early_stopping", "callbacks.early_stopping.patience=1", "+callbacks.early_stopping.min_delta=1"]
    wanted = undisturbed(LONGER, *words)
    shorter = train(tiny(*words)).folder
    longer = train(tiny(LONGER, *words)).folder
    assert record(longer)["epochs"] == 2
    same(in_its_folder(traces(longer), shorter, longer), wanted)


def in_its_folder(content, *places):
    """The same, where a checkpoint that was copied says its own place: nothing else of it may differ."""
    if isinstance(content, dict):
        return {in_its_folder(key, *places): in_its_folder(value, *places) for key, value in content.items()}
    if isinstance(content, tuple | list):
        return type(content)(in_its_folder(value, *places) for value in content)
    return content.replace(*map(str, places)) if isinstance(content, str) else content


def traces_without_best(folder):
    shutil.copyfile(folder / "checkpoints" / "last.ckpt", folder / "checkpoints" / "best.ckpt")
    found = traces(folder)
    (folder / "checkpoints" / "best.ckpt").unlink()
    return found


def test_of_several_the_longest_whole_one_is_taken(tiny, shorter, lines):
    one, two = shorter, train(tiny()).folder
    assert lines() == [f"goes on from epoch 1 of {one}"]
    spoil_last(two)
    three = train(tiny(LONGER)).folder
    assert lines()[1:] == [f"goes on from epoch 1 of {one}"]
    train(tiny("trainer.max_epochs=4"))
    assert lines()[2:] == [f"goes on from epoch 3 of {three}"]


def test_a_stopped_extension_goes_on_by_itself(tiny, watch, undisturbed):
    wanted = undisturbed(LONGER)
    shorter = train(tiny()).folder
    watch(At(interrupt(), step=11))
    longer = stopped(tiny, LONGER)
    assert record(longer)["extends"] == shorter.name
    shutil.rmtree(shorter)
    watch()
    train(tiny(LONGER))
    same(in_its_folder(traces(longer), shorter, longer), wanted)
    assert (record(longer)["extends"], record(longer)["resumed"]) == (shorter.name, 2)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["scheduler=cosine"], "the cosine schedule depends on the length"),
        (
            [
                "scheduler._target_=torch.optim.lr_scheduler.OneCycleLR",
                "~scheduler.warmup_epochs",
                "+scheduler.max_lr=1",
            ],
            "the constant schedule depends on the length",
        ),
        (["+trainer.max_steps=7"], "trainer.max_steps limits the training as well"),
        (["+trainer.max_time=00:01:00:00"], "trainer.max_time limits the training as well"),
        (
            ["loss._target_=toy_parts.Idle", "~loss.margin", "~loss.reduction"],
            "loss=toy_parts.Idle may depend on the length",
        ),
        (
            ["loss=supcon", "+weighting._target_=toy_parts.Evenly"],
            "weighting=toy_parts.Evenly may depend on the length",
        ),
        (
            [f"+callbacks.mean={{_target_: {AVERAGING}, swa_lrs: 0.1}}"],
            f"callbacks.mean={AVERAGING} may depend on the length",
        ),
        (["callbacks=early_stopping", "scheduler=step"], None),
        (["scheduler._target_=own_parts.falling", "~scheduler.warmup_epochs"], None),
    ],
)
def test_what_depends_on_the_length(tiny, words, why):
    assert by_length(check(tiny(*words))) == why


def spoil_data(folder):
    written = json.loads((folder / "run.json").read_text())
    written["data"]["content"]["labels"] = "other"
    (folder / "run.json").write_text(json.dumps(written))


def spoil_versions(folder):
    written = json.loads((folder / "run.json").read_text())
    written["versions"]["torch"] = "1.0"
    (folder / "run.json").write_text(json.dumps(written))


def spoil_history(folder):
    lines = (folder / "metrics.csv").read_text().splitlines(keepends=True)
    (folder / "metrics.csv").write_text("".join(lines[:2]))


def spoil_last(folder):
    path = folder / "checkpoints" / "last.ckpt"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (spoil_data, r"the data are others \(labels differ\)"),
        (spoil_versions, "it was trained with torch 1.0, here is .*"),
        (spoil_history, "it stopped early, after epoch 0"),
        (spoil_last, "its last.ckpt is .*damaged.*"),
        (lambda folder: (folder / "checkpoints" / "best.ckpt").unlink(), "its best.ckpt is gone"),
    ],
)
def test_a_shorter_run_that_is_no_beginning(run, shorter, lines, spoil, why):
    spoil(shorter)
    left = contents(shorter)
    longer = run().folder
    (line,) = lines()
    assert re.fullmatch(f"{shorter} of 1 epochs is not extended, this run is trained afresh: {why}", line)
    assert (record(longer)["extends"], record(longer)["resumed"]) == (None, 0)
    assert contents(shorter) == left


@pytest.mark.parametrize("words", [["resume=never"], ["loss.margin=0.3"], ["seed=1"], ["study=other"]], ids=" ".join)
@pytest.mark.usefixtures("shorter")
def test_what_extends_nothing_says_nothing(run, lines, words):
    assert record(run(*words).folder)["extends"] is None
    assert lines() == []


@pytest.mark.usefixtures("shorter")
def test_other_bits_in_the_same_run(run, lines):
    words = ["trainer.log_every_n_steps=2", "trainer.accelerator=auto"]
    for word in words:
        assert record(run(word, "resume=auto").folder)["extends"] is None
        shutil.rmtree(run(word).folder)
    was = [line.partition("afresh: ")[2] for line in lines()]
    assert was == ["trainer.log_every_n_steps was 1", "trainer.accelerator was cpu"]


def test_two_processes_extend(tiny):
    """The one that does not copy reads what the shorter run has left."""
    words = (*DDP, "evaluation.batch_size=50")
    for epochs in (1, 2):
        cfg = tiny(*words, f"trainer.max_epochs={epochs}")
        on_ranks(lambda cfg=cfg: train(cfg), ready=started(cfg))
    found = record(the_folder(cfg))
    shorter = the_folder(tiny(*words, "trainer.max_epochs=1"))
    assert (found["status"], found["epochs"], found["extends"]) == ("finished", 2, shorter.name)
