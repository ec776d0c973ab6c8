"""The search of a fair comparison, with trials that train nothing."""

import os
import time
from functools import cache

import pytest
from forks import in_forks
from tiny_runs import COMPOSER, TINY

import metriscope.fair.search
from metriscope.evaluation.monitors import Monitor
from metriscope.fair.folds import Result
from metriscope.fair.search import Searching
from metriscope.fair.spaces import Search, search_of, start_of
from metriscope.fair.words import Asked, read
from metriscope.fair.workers import Workers
from metriscope.run.ledger import COMPLETE
from metriscope.run.ledger import read as read_ledger

pytest.importorskip("optuna")

FOLDS = 2


@cache
def entries() -> list[Search]:
    asked = read([*TINY, "losses=contrastive,triplet/semihard"])
    return [search_of(start_of(asked, entry), {"head": True, "loss": False}) for entry in asked.entries]


@pytest.fixture
def search(tmp_path, monkeypatch):
    """Searches in a folder until all is done or an interruption comes; returns its ledger without times."""
    calls = []

    def trial(config, folds, goal, best, prune):
        calls.append(config)
        margin, rate = config["loss"]["margin"], config["optimizer"]["lr_head"]
        values = tuple(1 / (1 + abs(margin - 0.5) + rate + fold / 10) for fold in range(folds))
        return Result(values, sum(values) / folds, COMPLETE, 3, 0.1 * len(calls))

    monkeypatch.setattr(metriscope.fair.search, "trial", trial)

    def go(name: str, sampler: str = "tpe", trials: int = 6):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        found = entries()
        asked = Asked(tuple(one.entry for one in found), (), (), trials=trials, folds=FOLDS, sampler=sampler)
        try:
            goal = Monitor("val/map_at_r", "max")
            Searching(folder, asked, found, goal, COMPOSER).carry_out(Workers(0), lambda line: None)
        except KeyboardInterrupt:
            pass
        return [vars(row) | {"seconds": 0} for row in read_ledger(folder, FOLDS)]

    go.calls = calls
    return go


def interrupt(monkeypatch, place, name, *, at: int):
    """Stop at the n-th call of a function, before it does anything."""
    real, count = getattr(place, name), [0]

    def once(*args, **kwargs):
        count[0] += 1
        if count[0] == at:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    monkeypatch.setattr(place, name, once)


@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_interrupted_anywhere_the_ledger_is_that_of_an_undisturbed_search(search, monkeypatch, sampler):
    if sampler == "gp":
        pytest.importorskip("scipy")
    trials = 6 if sampler == "tpe" else 4
    whole = search("undisturbed", sampler, trials)
    assert [row["trial"] for row in whole] == [*range(trials), *range(trials)]
    done = []
    for place, name in (
        (metriscope.fair.search, "trial"),
        (metriscope.fair.search.ledger, "write"),
        (metriscope.fair.search, "propose"),
        (metriscope.fair.search.ledger, "replacing"),
        (metriscope.fair.search, "best_of"),
    ):
        for at in (1, 3):
            with monkeypatch.context() as patch:
                interrupt(patch, place, name, at=at)
                done.append(len(search("interrupted", sampler, trials)))
    assert done == sorted(done)
    assert 0 < done[2] < 2 * trials
    assert search("interrupted", sampler, trials) == whole
    before = len(search.calls)
    assert search("interrupted", sampler, trials) == whole
    assert len(search.calls) == before


def test_trials_go_round_the_entries_and_none_is_the_same(search):
    whole = search("fair", trials=4)
    assert [(config["loss"]["name"]) for config in search.calls] == ["contrastive", "triplet"] * 4
    for name in ("contrastive", "triplet/semihard"):
        rows = [row for row in whole if row["entry"] == name]
        assert len({row["config"] for row in rows}) == len({row["seed"] for row in rows}) == 4
        assert all(0.02 <= row["params"]["loss.margin"] <= 1.8 for row in rows)
    assert whole[0]["params"] == {"loss.margin": 1.0, "loss.positive_margin": 0.0, "optimizer.lr_head": 0.001}


def test_processes_share_a_search_and_its_ledger_is_that_of_one(search, monkeypatch, tmp_path):
    whole = search("alone", trials=6)
    monkeypatch.setattr(metriscope.fair.search, "TURN_SECONDS", 0.02)
    pretended = metriscope.fair.search.trial

    def slow(config, *rest):
        with (tmp_path / "by.txt").open("a") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(0.02)
        return pretended(config, *rest)

    monkeypatch.setattr(metriscope.fair.search, "trial", slow)
    in_forks([lambda: search("shared", trials=6)] * 3)
    assert search("shared", trials=6) == whole
    done = (tmp_path / "by.txt").read_text().split()
    assert len(done) == len(whole), "no trial was run twice"
    assert len(set(done)) > 1
