"""Searches: what is proposed, pruned, taken up again; with runs that do not train, and once for real."""

import json
import math
import os
import signal
import sys

import pytest
import yaml
from omegaconf import OmegaConf
from tiny_runs import TINY

import metriscope.app
from metriscope.cli import train as main
from metriscope.commands.train import check_command
from metriscope.config.compose import compose_config
from metriscope.config.files import CONFIG_DIR
from metriscope.config.rules import check
from metriscope.errors import RunError
from metriscope.files import write_json
from metriscope.outcome import Outcome
from metriscope.run.identity import identity
from metriscope.run.trials import open_storage

optuna = pytest.importorskip("optuna")

SEARCH = ["sweep=optuna_tpe", "sweep.trials=4", "+sweep.sampler.n_startup_trials=2"]


@pytest.fixture
def search(monkeypatch, capsys, tmp_path, short_launch):
    """Runs ``main()`` on a search whose trials score their learning rate; returns exit code, rates and output."""

    def go(*words, behaviour=lambda config: None):
        rates = []

        def execute(run, stop):
            rate = run.config["optimizer"]["lr"]
            rates.append(rate)
            figure = behaviour(run.config)
            figures = {"best/val/map_at_r": rate if figure is None else figure}
            write_json(run.folder / "summary.json", figures)
            return Outcome({}, run.folder)

        monkeypatch.setattr(metriscope.app, "_execute", execute)
        monkeypatch.setattr(sys, "argv", ["train.py", "-m", *TINY, f"paths.output_dir={tmp_path}", *words])
        with pytest.raises(SystemExit) as exit_:
            main()
        return exit_.value.code, rates, capsys.readouterr()

    return go


def trials(tmp_path):
    return optuna.load_study(study_name="default", storage=open_storage(tmp_path / "default" / "optuna.db")).trials


def test_the_best_of_all_trials_is_named(search, tmp_path):
    code, rates, said = search(*SEARCH)
    assert code == 0
    assert len(set(rates)) == 4
    assert all(1e-5 <= rate <= 1e-2 for rate in rates)
    assert "4 trials: 4 new" in said.out
    assert f"with optimizer.lr={max(rates)}" in said.out.splitlines()[-1]
    assert [trial.value for trial in trials(tmp_path)] == rates


def test_the_ranges_of_parts_are_searched_where_nothing_else_is_said(search, tmp_path):
    code, _, _ = search(*SEARCH, "sweep.parts=true", "loss=contrastive", "loss.margin=interval(0.5,0.6)")
    assert code == 0
    for trial in trials(tmp_path):
        assert trial.params.keys() == {"optimizer.lr", "loss.margin", "loss.positive_margin"}
        assert 0.5 <= trial.params["loss.margin"] <= 0.6
    code, rates, said = search(*SEARCH, "sweep.parts=true", "loss=sum", "study=summed")
    assert (code, rates) == (2, [])
    assert "loss=sum does not say what to search" in said.err


def test_a_finished_search_has_nothing_to_do_and_a_longer_one_goes_on(search):
    _, first, _ = search(*SEARCH)
    code, rates, said = search(*SEARCH)
    assert (code, rates) == (0, [])
    assert "4 trials: 4 finished" in said.out
    _, rates, _ = search(*SEARCH, "sweep.trials=6")
    assert len(rates) == 2
    assert not set(rates) & set(first)


def test_an_interrupted_search_ends_as_an_undisturbed_one(search, tmp_path):
    _, wanted, _ = search(*SEARCH, f"paths.output_dir={tmp_path / 'undisturbed'}")
    count = [0]

    def interrupt(config):
        count[0] += 1
        if count[0] == 3:
            os.kill(os.getpid(), signal.SIGINT)

    code, rates, said = search(*SEARCH, behaviour=interrupt)
    assert (code, rates) == (130, wanted[:3])
    assert said.err.endswith("metriscope: interrupted: the same command goes on\n")
    code, rates, said = search(*SEARCH)
    assert (code, rates) == (0, wanted[2:])
    assert "4 trials: 2 finished, 1 to resume, 1 new" in said.out


def test_a_failed_trial_is_repeated_by_the_next_invocation(search, tmp_path):
    def fail(config):
        if config["sweep"]["trial"] == 1:
            raise RunError("loss not finite")

    code, first, said = search(*SEARCH, behaviour=fail)
    assert code == 1
    assert len(first) == 4
    assert "(RunError: loss not finite)" in said.out
    code, rates, _ = search(*SEARCH)
    assert (code, rates) == (0, [first[1]])
    assert all(trial.state == optuna.trial.TrialState.COMPLETE for trial in trials(tmp_path))


def test_a_trial_whose_metric_is_not_finite_counts_and_the_search_goes_on(search, tmp_path):
    code, rates, said = search(*SEARCH, behaviour=lambda config: math.inf if config["sweep"]["trial"] == 1 else None)
    assert (code, len(rates)) == (0, 4)
    assert [trial.state.name for trial in trials(tmp_path)] == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    (line,) = [line for line in said.out.splitlines() if "not finite" in line]
    assert line.split()[:2] == ["1", "finished"]
    code, rates, said = search(*SEARCH)
    assert (code, rates) == (0, [])
    assert "4 trials: 3 finished, 1 without a finite metric\n" in said.out


def test_a_search_without_a_finite_metric_ends(search):
    code, rates, said = search(*SEARCH, behaviour=lambda config: math.nan)
    assert (code, len(rates)) == (0, 4)
    assert "best:" not in said.out


def test_a_trial_that_never_ran_is_no_success(search, monkeypatch):
    monkeypatch.setattr("metriscope.sweeps.jobs.Task.__call__", lambda self, cfg: None)
    code, rates, said = search(*SEARCH)
    assert (code, rates) == (1, [])
    assert said.out.count("  missing  ") == 4


def test_a_trial_whose_parameters_were_not_all_drawn_is_given_up(search, tmp_path):
    search(*SEARCH, "sweep.trials=1")
    optuna.load_study(study_name="default", storage=open_storage(tmp_path / "default" / "optuna.db")).ask()
    code, rates, _ = search(*SEARCH, "sweep.trials=2")
    assert (code, len(rates)) == (0, 1)


def test_storage_holds_one_search(search):
    search(*SEARCH, "sweep.trials=1")
    for words in (["loss=contrastive"], ["optimizer.lr=interval(0.1,1)"], ["evaluation.monitor=val/recall_at_1"]):
        code, rates, said = search(*SEARCH, *words)
        assert (code, rates) == (2, [])
        assert "holds a search over other settings: set another study" in said.err


def test_a_search_of_the_first_format_goes_on(search, tmp_path):
    search(*SEARCH, "sweep.trials=1")
    study = optuna.load_study(study_name="default", storage=open_storage(tmp_path / "default" / "optuna.db"))
    like = {key: value for key, value in study.user_attrs["like"].items() if key != "format"}
    study.set_user_attr("like", like | {"settings": "hashed by another rule"})
    code, rates, _ = search(*SEARCH, "sweep.trials=2")
    assert (code, len(rates)) == (0, 1)
    study.set_user_attr("like", like | {"space": {}})
    assert search(*SEARCH, "sweep.trials=3")[0] == 2


def test_pruning_for_real(tmp_path, monkeypatch, capsys, one_composer):
    """Rates that learn nothing end early; the run folder says why, and the trial is none of the complete ones."""
    words = [
        *TINY, f"paths.output_dir={tmp_path}", "sweep=optuna_random", "sweep.trials=2", "trainer.max_epochs=3",
        "sweep.pruner.n_startup_trials=1", "sweep.pruner.n_warmup_steps=0", "sweep.metric=val/loss", "sweep.mode=min",
        "optimizer.lr=1e-9,1e-1",
    ]  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["train.py", "-m", *words])
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 0
    good, bad = trials(tmp_path)
    assert [good.state.name, bad.state.name] == ["COMPLETE", "PRUNED"]
    assert (good.params, list(good.intermediate_values)) == ({"optimizer.lr": "0.1"}, [0, 1, 2])
    records = [json.loads(path.read_text()) for path in tmp_path.glob("default/*/*/*/run.json")]
    (reason,) = [record["reason"] for record in records if record["status"] == "pruned"]
    assert reason.startswith("pruned after epoch ")
    assert reason in capsys.readouterr().out


def test_a_search_needs_optuna(search, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code, _, said = search(*SEARCH)
    assert code == 2
    assert said.err == "metriscope: sweep=optuna_tpe needs a package: pip install optuna\n"


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("sweep.pruner.n_startup_trials=x", "sweep.pruner.n_startup_trials=x: it has to be a number"),
        ("sweep.pruner.n_startup_trials=-1", "sweep.pruner: Number of startup trials cannot be negative"),
        ("sweep.pruner.n_warmup_steps=1.5", "sweep.pruner.n_warmup_steps=1.5: it has to be a whole number"),
        ("+sweep.pruner.warmup=2", "sweep.pruner.warmup: MedianPruner takes no such argument; did you mean"),
        ("+sweep.sampler.n_startup_trials=x", "sweep.sampler.n_startup_trials=x: it has to be a whole number"),
        ("+sweep.sampler._partial_=true", "sweep.sampler._partial_=true: it is not supported"),
        ("sweep.sampler._target_=optuna.samplers.TPESamper", "sweep.sampler._target_=optuna.samplers.TPESamper: "),
        ("sweep.sampler._target_=optuna.pruners.NopPruner", "sweep.sampler.seed: NopPruner takes no such argument"),
        (
            "sweep.sampler._target_=numpy.random.RandomState",
            "sweep.sampler._target_=numpy.random.RandomState: it has to be an Optuna sampler",
        ),
        ("sweep.sampler=null", "sweep.sampler=null: it has to be a section with an Optuna sampler as its _target_"),
    ],
)
def test_samplers_and_pruners_are_judged_before_any_trial(search, tmp_path, word, line):
    code, rates, said = search("sweep=optuna_tpe", word)
    assert (code, rates) == (2, [])
    assert said.err.startswith(f"metriscope: {line}")
    assert said.err.count("\n") == 1
    assert not (tmp_path / "default").exists()


def test_a_key_that_is_not_there(search):
    code, _, said = search(*SEARCH, "loss.margn=interval(0,1)")
    assert code == 2
    assert "loss.margn: no such key; did you mean 'loss.margin'?" in said.err


def test_who_searches_is_no_part_of_a_run():
    plain, searched = (
        identity(OmegaConf.to_container(compose_config(words), resolve=True))
        for words in ([], ["sweep=optuna_tpe", "sweep.trial=3"])
    )
    assert plain == searched


def test_the_sweep_of_wandb_is_sound():
    """What its agent would run composes, for the ends of every range."""
    sweep = yaml.safe_load((CONFIG_DIR.parent / "scripts" / "wandb_sweep.yaml").read_text())
    assert sweep["command"][-1] == "${args_no_hyphens}"
    assert (CONFIG_DIR.parent / sweep["program"]).is_file()
    fixed = [word for word in sweep["command"] if "=" in word]
    for end in (0, -1):
        given = {key: (one.get("values") or [one["min"], one["max"]])[end] for key, one in sweep["parameters"].items()}
        check_command([*fixed, *(f"{key}={value}" for key, value in given.items())])
        check(compose_config([f"evaluation.monitor={sweep['metric']['name']}"]))
