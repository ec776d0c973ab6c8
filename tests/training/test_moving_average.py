"""A moving average of the weights: its values, what it leaves alone, and who uses it."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from forks import DDP, on_ranks, started
from interruptions import At, interrupt, same, state, stopped, traces
from tiny_runs import COMPOSER, TINY
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import metriscope
from metriscope.app import train
from metriscope.build.run import data_of, learner_of
from metriscope.build.trained import read_trained
from metriscope.config.plain import plain
from metriscope.config.rules import check
from metriscope.errors import InputError
from metriscope.evaluating import evaluate
from metriscope.models.network import Network
from metriscope.run.identity import identity
from metriscope.training.moving_average import MovingAverage

DECAY = "trainer.ema_decay=0.8"
EMA = (DECAY, "evaluation.weights=ema")


def network() -> Network:
    torch.manual_seed(0)
    trunk: Any = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    return Network(trunk, nn.Linear(4, 2), 2).double()


def test_it_is_that_of_torch_with_whole_numbers_copied() -> None:
    followed = network()
    average, oracle = (
        MovingAverage(followed, 0.7),
        AveragedModel(followed, multi_avg_fn=get_ema_multi_avg_fn(0.7), use_buffers=True),
    )
    names = [name for name, _ in (*followed.named_parameters(), *followed.named_buffers())]
    by_hand: dict[str, torch.Tensor] = {}
    for step in range(4):
        followed(torch.randn(5, 3, dtype=torch.float64))
        with torch.no_grad():
            for weight in followed.parameters():
                weight += torch.randn_like(weight)
        average.update(followed, first=step == 0)
        oracle.update_parameters(followed)
        for name, value in followed.state_dict().items():
            by_hand[name] = value.clone() if step == 0 else 0.7 * by_hand[name] + 0.3 * value
    found, torchs = average.network.state_dict(), oracle.module.state_dict()
    for name in names:
        if name.endswith("num_batches_tracked"):
            assert int(found[name]) == 4
            continue
        assert torch.equal(found[name], torchs[name])
        torch.testing.assert_close(found[name], by_hand[name], rtol=1e-12, atol=0)
    assert not any(weight.requires_grad for weight in average.parameters())


def test_a_step_asks_no_device_for_a_number() -> None:
    with torch.device("meta"):
        followed = network()
    average = MovingAverage(followed, 0.7)
    for first in (True, False):
        average.update(followed, first=first)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The same training twice, evaluated with its weights and with their average."""
    words = (*TINY, f"paths.output_dir={tmp_path_factory.mktemp('averaged')}", "trainer.max_epochs=1")
    return {name: train(COMPOSER([*words, *more])) for name, more in (("model", (DECAY,)), ("ema", EMA))}


def test_the_average_changes_no_training_and_is_evaluated_on_request(runs: dict[str, Any]) -> None:
    model, ema = runs["model"], runs["ema"]
    assert model.metrics["train/loss"] == ema.metrics["train/loss"]
    assert model.metrics["test/variance_intra"] != ema.metrics["test/variance_intra"]
    one, other = (state(run.folder)["state_dict"] for run in runs.values())
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    kept = [name for name in one if name.startswith("average.network.")]
    assert len(kept) == len([name for name in one if name.startswith("embedder.")])
    # Either can be evaluated later, and is what the other run was tested with.
    for run, weights, as_run in ((model, "ema", ema), (ema, "model", model), (ema, "ema", ema)):
        found = evaluate([f"evaluation.weights={weights}"], run=run.folder).metrics
        # The best epochs agree where there is one.
        assert found == {key: value for key, value in as_run.metrics.items() if key.startswith("test/")}


def test_a_run_is_served_as_it_was_tested(runs: dict[str, Any], tmp_path: Path) -> None:
    folder = runs["ema"].folder
    wanted = {key: value for key, value in state(folder, "best")["state_dict"].items() if "average" in key}
    served = metriscope.load(folder).network.state_dict()
    assert all(torch.equal(served[key.removeprefix("average.network.")], value) for key, value in wanted.items())
    raw = read_trained(folder).network(averaged=False)
    assert any(not torch.equal(served[name], value) for name, value in raw.items())
    outcome = runs["ema"].module
    x = torch.zeros(2, 8)
    assert torch.equal(outcome.eval()(x).z, outcome.average.network(x).z)
    assert torch.equal(outcome.train()(x).z, outcome.embedder(x).z)


def test_another_run_begins_from_the_weights_that_were_tested(runs: dict[str, Any], tmp_path: Path) -> None:
    from metriscope.build.initial import initialise
    from metriscope.run.folder import open_run

    cfg = COMPOSER([*TINY, f"init={runs['ema'].folder}", f"paths.output_dir={tmp_path}"])
    config = plain(cfg)
    data = data_of(config)
    with open_run(check(cfg)) as run:
        module = learner_of(config, data)
        initialise(run, module, data.splits.fingerprint)
    wanted = read_trained(runs["ema"].folder).network()
    assert all(torch.equal(value, wanted[name]) for name, value in module.embedder.state_dict().items())


def test_a_stopped_run_goes_on_as_if_nothing_had_happened(tiny: Any, watch: Any) -> None:
    words = (*EMA, "trainer.accumulate_grad_batches=2")
    watch()
    folder = train(tiny(*words)).folder
    wanted = traces(folder)
    shutil.rmtree(folder)
    watch(At(interrupt(), step=7))
    assert stopped(tiny, *words) == folder
    watch()
    train(tiny(*words))
    same(traces(folder), wanted)


@pytest.mark.processes
def test_two_processes_average_what_one_does(tiny: Any, tmp_path: Path) -> None:
    # The loss of a gathered batch is that of the whole one, where no layer goes by the batch.
    words = (*EMA, "trainer.precision=64-true", "backbone.freeze_batch_norm=true", "trainer.max_epochs=1",
             "sampler=shuffle")  # fmt: skip
    alone = train(tiny(*words, "sampler.batch_size=18"))
    cfg = tiny(*words, *DDP, "sampler.batch_size=9")

    def work() -> None:
        outcome = train(cfg)
        figures = {key: value for key, value in outcome.metrics.items() if key.startswith("test/")}
        torch.save((outcome.module.state_dict(), figures), tmp_path / f"{os.environ['RANK']}.pt")

    on_ranks(work, ready=started(cfg))
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    for name, value in alone.module.state_dict().items():
        assert torch.equal(first[0][name], second[0][name])
        torch.testing.assert_close(first[0][name], value, rtol=1e-9, atol=1e-12)
    assert first[1] == second[1]
    assert first[1] == pytest.approx({key: alone.metrics[key] for key in first[1]}, rel=1e-6)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["evaluation.weights=ema"],
            "evaluation.weights=ema: there is no moving average of the weights without",
        ),
        (["evaluation.weights=avg"], "evaluation.weights=avg: it has to be one of model, ema"),
        (["trainer.ema_decay=1"], "trainer.ema_decay=1: it has to be a number of at least 1e-06 and at most 0.999999"),
        (["trainer.ema_decay=0"], "trainer.ema_decay=0: it has to be a number of at least"),
        (["trainer.ema_decay=high"], "trainer.ema_decay=high: it has to be a number of at least"),
        ([DECAY, "trainer.precision=bf16-true"], "trainer.ema_decay=0.8: weights of 16 bits are too coarse for the av"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(words: list[str], line: str) -> None:
    with pytest.raises(InputError) as error:
        check(COMPOSER([*TINY, *words]))
    assert str(error.value).startswith(line)
    assert "\n" not in str(error.value)


def test_a_run_without_an_average_has_none_to_evaluate(run: Any) -> None:
    folder = run("trainer.max_epochs=1").folder
    assert not any("average" in name for name in state(folder)["state_dict"])
    with pytest.raises(InputError, match=r"^evaluation\.weights=ema: there is no moving average of the weights"):
        evaluate(["evaluation.weights=ema"], run=folder)
    with pytest.raises(InputError, match=r"only training reads trainer\.ema_decay"):
        evaluate([DECAY], run=folder)


def test_the_identity_is_that_of_a_run_without_the_keys() -> None:
    plain_ = plain(COMPOSER(list(TINY)))
    drop = {"trainer": "ema_decay", "evaluation": "weights"}
    before = {**plain_, **{group: {k: v for k, v in plain_[group].items() if k != key} for group, key in drop.items()}}
    assert identity(plain_) == identity(before) == identity(plain(COMPOSER([*TINY, "evaluation.weights=model"])))
    assert len({identity(plain(COMPOSER([*TINY, *words]))) for words in ((), (DECAY,), EMA)}) == 3
