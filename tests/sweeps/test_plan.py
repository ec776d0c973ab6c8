"""What a sweep is made of, and what of it is left to do."""

import json
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from study_folders import leave
from tiny_runs import TINY

from metriscope.config.compose import Composer, compose_config
from metriscope.config.search_path import with_folder
from metriscope.errors import InputError
from metriscope.run.identity import folder_of
from metriscope.sweeps import plan as planning
from metriscope.sweeps.plan import base_config, expand, first_job, plan, split


@pytest.fixture
def make(tmp_path, one_composer):
    """Plans a sweep of tiny runs below ``tmp_path``."""

    def go(*words, config_dir=None):
        all_words = with_folder([*TINY, f"paths.output_dir={tmp_path}", *words], config_dir)
        return plan(all_words, base_config(all_words))

    return go


def test_jobs_are_the_product_of_all_values():
    assert expand(["loss=contrastive,triplet", "seed=range(2)", "study=x"]) == [
        ("loss=contrastive", "seed=0", "study=x"),
        ("loss=contrastive", "seed=1", "study=x"),
        ("loss=triplet", "seed=0", "study=x"),
        ("loss=triplet", "seed=1", "study=x"),
    ]


def test_choices_by_pattern():
    assert expand(["optimizer=glob(ad*)"]) == [("optimizer=adam",), ("optimizer=adamw",)]
    with pytest.raises(InputError, match="no choice of optimizer fits"):
        expand(["optimizer=glob(zz*)"])


def test_an_interval_has_no_list_of_values():
    with pytest.raises(InputError, match=r"optimizer\.lr=interval\(1,2\) is a range to search: add sweep=optuna_tpe"):
        expand(["optimizer.lr=interval(1,2)"])


def test_words_for_hydra_are_not_words_of_runs():
    words = ["seed=1,2", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    assert split(words) == (("seed=1,2",), ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2"))
    assert first_job([*words, "optimizer.lr=interval(0.1,1)"]) == ("seed=1", "optimizer.lr=0.1")


@pytest.mark.parametrize(
    "words",
    [
        ["loss=contrastive", "seed=3", "loss.margin=0.7"],
        ["dataset=cifar10", "+trainer.profiler=simple", "~callbacks.name"],
        ["experiment=paper/contrastive_vs_triplet", "loss.reduction=mean", "++trainer.max_epochs=7", "tags=[a,b]"],
        ["dataset=cifar10", "backbone=resnet50", "sampler.batch_size=7"],
    ],
)
def test_composing_in_two_steps_is_composing(words):
    composer = Composer()
    composer([w for w in words if "=" in w][:1])
    assert composer(words) == compose_config(words)
    assert OmegaConf.is_struct(composer(words))
    assert composer(words) == compose_config(words), "the first config is not changed by the second"


def test_refusals_of_jobs_are_those_of_single_runs():
    composer = Composer()
    with pytest.raises(InputError, match=r"loss\.margn: no such key; did you mean 'loss\.margin'"):
        composer(["loss=triplet", "loss.margn=1"])
    with pytest.raises(InputError, match=r"loss=tripplet: no such choice; did you mean 'triplet'"):
        composer(["seed=1", "loss=tripplet"])


def test_a_new_sweep_is_written_down(make, tmp_path):
    made = make("seed=range(3)")
    assert [state.status for state in made.states] == ["missing"] * 3
    assert made.todo == made.jobs
    assert made.study == tmp_path / "default"
    (path,) = (tmp_path / "default" / ".multirun").glob("*.json")
    assert set(json.loads(path.read_text())["runs"]) == {
        job.folder.relative_to(made.study).as_posix() for job in made.jobs
    }
    config = OmegaConf.to_container(compose_config(made.jobs[1].words), resolve=True)
    assert made.jobs[1].folder == folder_of(config)


def test_finished_runs_are_left_out(make):
    jobs = make("seed=range(4)").jobs
    for job, status in zip(jobs, ["finished", "failed", "interrupted"], strict=False):
        leave(job.folder, status)
    assert [job.folder for job in make("seed=range(4)").todo] == [job.folder for job in jobs[1:]]
    assert len(make("seed=range(4)", "resume=never").todo) == 4


def test_a_finished_study_takes_no_composing(make, monkeypatch):
    for job in make("seed=range(4)", "loss=contrastive,triplet").jobs:
        leave(job.folder)

    def forbidden(*_):
        raise AssertionError("composed")

    monkeypatch.setattr(planning, "Composer", lambda words: forbidden)
    made = make("seed=range(4)", "loss=contrastive,triplet")
    assert len(made.jobs) == 8
    assert made.todo == []
    with pytest.raises(AssertionError, match="composed"):
        make("seed=range(5)", "loss=contrastive,triplet")


def test_what_is_remembered_ends_with_the_configs_it_came_from(make, tmp_path, monkeypatch):
    monkeypatch.setattr(planning, "Composer", Composer)
    (tmp_path / "own" / "loss").mkdir(parents=True)
    mine = tmp_path / "own" / "loss" / "mine.yaml"
    mine.write_text("# Mine.\ndefaults: [triplet]\nname: mine\nmargin: 0.7\n")
    first = make("loss=mine", "seed=1,2", config_dir=str(tmp_path / "own"))
    assert make("loss=mine", "seed=1,2", config_dir=str(tmp_path / "own")).jobs == first.jobs
    mine.write_text(mine.read_text().replace("0.7", "0.8"))
    second = make("loss=mine", "seed=1,2", config_dir=str(tmp_path / "own"))
    assert not {job.folder for job in first.jobs} & {job.folder for job in second.jobs}


def test_what_is_remembered_may_be_damaged(make, tmp_path):
    jobs = make("seed=1,2").jobs
    (path,) = (tmp_path / "default" / ".multirun").glob("*.json")
    for content in ("half of a fi", '{"runs": {"x": null}, "fingerprint": 1}'):
        path.write_text(content)
        assert make("seed=1,2").jobs == jobs


def test_jobs_that_are_one_run_are_one(make):
    assert len(make("seed=1,1", "tags=[a],[b]").jobs) == 1


def test_every_study_of_a_sweep_knows_its_runs(make, tmp_path):
    make("study=a,b", "seed=1,2")
    for study in "ab":
        (path,) = (tmp_path / study / ".multirun").glob("*.json")
        assert len(json.loads(path.read_text())["runs"]) == 2


def test_the_last_job_is_checked_before_the_first_starts(make):
    with pytest.raises(InputError, match="seed=-1"):
        make("seed=0,1,-1")
    with pytest.raises(InputError, match=r"loss=contrastive cannot take miner=semihard"):
        make("loss=triplet,contrastive", "miner=semihard")


def test_a_folder_that_cannot_be_written(tmp_path, make):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot write .*set paths\.output_dir"):
        make("seed=1", f"paths.output_dir={Path(tmp_path, 'file')}")
