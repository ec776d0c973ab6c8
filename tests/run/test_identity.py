"""Who a run is: what its identity goes by, and that runs of other formats are found or left alone."""

import copy
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf
from run_folders import CONFIG, changed, finish, record
from tiny_runs import COMPOSER

from metriscope.app import train
from metriscope.config.plain import flatten, plain
from metriscope.errors import InputError
from metriscope.run.folder import open_run
from metriscope.run.identity import folder_of, identity, located, relevant
from metriscope.run.record import FINISHED, FORMAT, INTERRUPTED
from metriscope.run.study import load_study
from metriscope.sweeps.plan import base_config, plan
from metriscope.sweeps.states import states_of

TRIPLET = "metriscope.objectives.losses.triplets.triplet.TripletLoss"
# The hash of the first format, over all keys: of CONFIG with the classes below.
OLD = "de251aca21d0a6ca39d4fc7976956b6106ff37dcc80a9d104110d3d42c3b94d4"
OLD_TARGETS = {"loss": TRIPLET, "dataset": "metriscope.data.datasets.digits.load"}


@pytest.fixture
def config(tmp_path):
    return changed(CONFIG, "paths.output_dir", str(tmp_path / "outputs"))


def with_targets(config, targets):
    config = copy.deepcopy(config)
    for section, target in targets.items():
        config[section]["_target_"] = target
    return config


def leave_old(config, status=FINISHED, name=OLD[:8], **further):
    """A run folder of the first format, as earlier versions wrote it."""
    folder = folder_of(config).with_name(f"seed{config['seed']}-{name}")
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(with_targets(config, OLD_TARGETS), sort_keys=False))
    (folder / "checkpoints" / "last.ckpt").write_bytes(b"state")
    (folder / "metrics.csv").write_text("epoch,step\n")
    (folder / "summary.json").write_text('{"test/map_at_r": 0.25}')
    written = {"status": status, "identity": OLD, "wandb_id": "abcd", "started": "2026-01-01T00:00:00+00:00"}
    written |= {"ended": "2026-01-01T00:01:00+00:00", "seconds": 60.0, "resumed": 0, "seed": config["seed"]}
    (folder / "run.json").write_text(json.dumps(written | further))
    return folder


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("paths.data_dir", "/elsewhere"),
        ("paths.output_dir", "/elsewhere"),
        ("logger", {"name": "wandb", "wandb": {"mode": "offline"}}),
        ("tags", ["a", "b"]),
        ("study", "another"),
        ("resume", "never"),
        ("dataset.download", True),
        ("dataset.num_workers", 4),
        ("evaluation.memory_mb", 64),
        ("evaluation.save_embeddings", True),
        ("evaluation.per_query", True),
        ("evaluation.spectrum", True),
        ("trainer.name", "auto"),
        ("trainer.accelerator", "auto"),
        ("trainer.log_every_n_steps", 1),
    ],
)
def test_identity_passes_over_what_changes_no_result(key, value):
    assert identity(changed(CONFIG, key, value)) == identity(CONFIG)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed", 4),
        ("dataset.fold", 1),
        ("dataset.protocol", "class_disjoint"),
        ("backbone.widths", [8]),
        ("loss.margin", 0.3),
        ("loss.name", "contrastive"),
        ("miner.name", "hard"),
        ("evaluation.monitor", "val/loss"),
        ("trainer.max_epochs", 3),
        ("trainer.precision", "bf16-mixed"),
        ("callbacks", {"name": "early_stopping"}),
    ],
)
def test_identity_differs_for_what_changes_results(key, value):
    assert identity(changed(CONFIG, key, value)) != identity(CONFIG)


def test_identity_does_not_depend_on_the_order_of_keys():
    backwards = {key: CONFIG[key] for key in reversed(CONFIG)}
    backwards["loss"] = {key: CONFIG["loss"][key] for key in reversed(CONFIG["loss"])}
    assert identity(backwards) == identity(CONFIG)


def test_identity_knows_types_and_nothing_from_something():
    assert identity(changed(CONFIG, "loss.margin", "0.2")) != identity(CONFIG)
    assert identity(changed(CONFIG, "dataset.fold", None)) != identity(CONFIG)


def test_the_folder_says_what_the_run_is():
    folder = folder_of(CONFIG)
    assert folder == Path(f"outputs/trial/digits-mlp/triplet-all/seed3-{identity(CONFIG)[:8]}")


def test_a_moved_class_is_the_same_run():
    moved = with_targets(CONFIG, {"loss": "metriscope.objectives.losses.triplets.TripletLoss"})
    assert identity(with_targets(CONFIG, OLD_TARGETS)) == identity(moved) == identity(CONFIG)


def test_a_mode_that_follows_from_the_metric_says_nothing():
    def of(monitor, mode, stopping=()):
        config = changed(changed(CONFIG, "evaluation.monitor", monitor), "evaluation.mode", mode)
        section = {"_target_": "pytorch_lightning.callbacks.EarlyStopping", **dict(stopping)}
        return identity(changed(config, "callbacks", {"name": "own", "stop": section}) if stopping else config)

    assert of("val/map_at_r", None) == of("val/map_at_r", "max") == identity(CONFIG)
    assert of("val/loss", None) == of("val/loss", "min")
    assert of("val/variance_ratio", "max") != of("val/variance_ratio", "min")
    for mode in ("max", "min"):  # that of the evaluation holds for whatever goes by its metric
        own, following = ({"monitor": "val/variance_ratio", "mode": said} for said in (mode, None))
        assert of("val/variance_ratio", mode, own) == of("val/variance_ratio", mode, following)
    assert of("val/map_at_r", None, {"monitor": "val/loss", "mode": None}) == of(
        "val/map_at_r", "max", {"monitor": "val/loss", "mode": "min"}
    )


def test_a_new_key_that_says_nothing_is_the_same_run():
    for key in ("loss.swap", "dataset.image_size", "experiment", "references"):
        assert identity(changed(CONFIG, key, None)) == identity(CONFIG)
    assert identity(changed(CONFIG, "miner.arguments", {})) == identity(CONFIG)
    assert identity(changed(CONFIG, "miner.arguments", {"epsilon": None})) == identity(CONFIG)
    assert identity(changed(CONFIG, "loss.swap", False)) != identity(CONFIG)


def test_lists_of_parts_go_by_the_same_rule():
    def of(*parts):
        return identity(changed(CONFIG, "loss.losses", list(parts)))

    plain = of({"name": "triplet", "weight": 1.0})
    assert of({"name": "triplet", "weight": 1.0, "_target_": TRIPLET, "miner": None}) == plain
    assert of({"name": "triplet", "weight": 2.0}) != plain
    assert of(None, {"name": "triplet", "weight": 1.0}) != plain, "a place in a list counts"


def test_a_class_without_a_name_is_the_only_name_there_is():
    stopping = {"early_stopping": {"_target_": "pytorch_lightning.callbacks.EarlyStopping", "patience": 3}}
    with_callback = changed(CONFIG, "callbacks", {"name": "own", **stopping})
    other = changed(with_callback, "callbacks.early_stopping._target_", "my_callbacks.EarlyStopping")
    assert identity(with_callback) != identity(other)
    own, moved = (changed(CONFIG, "loss._target_", f"{module}.Triplet") for module in ("my_losses", "moved"))
    assert identity(changed(own, "loss.name", "mine")) == identity(changed(moved, "loss.name", "mine"))
    own = changed(with_callback, "callbacks.early_stopping._target_", "metriscope.callbacks.graceful_stop.Stop")
    assert "callbacks.early_stopping._target_" not in relevant(own)


@pytest.mark.parametrize(
    ("group", "target"),
    [
        ("loss", "my_losses.Triplet"),
        ("sampler", "my_samplers.Drawn"),
        ("scheduler", "torch.optim.lr_scheduler.ExponentialLR"),
        ("augmentation", "my_augmentations.Jitter"),
    ],
)
def test_another_class_under_the_name_of_a_shipped_choice_is_another_run(group, target):
    config = plain(COMPOSER([]))
    assert identity(changed(config, f"{group}._target_", target)) != identity(config)
    entry = {"name": "triplet", "_target_": "my_losses.Triplet"}
    both = [changed(config, "loss.losses", [one]) for one in (entry, {**entry, "_target_": TRIPLET})]
    assert identity(both[0]) != identity(both[1])


def test_nested_and_flat_configs_are_the_same_run():
    config = with_targets(CONFIG, OLD_TARGETS)
    assert identity(flatten(config)) == identity(config)


@pytest.mark.parametrize(
    ("key", "value", "is_path"),
    [
        ("dataset.path", "photos", True),
        ("backbone.weights", "mine.pt", True),
        ("backbone.weights", "weights/mine", True),
        ("backbone.weights", "found", True),
        ("backbone.weights", "IMAGENET1K_V1", False),
        ("backbone.weights", None, False),
        ("loss.path", "photos", False),
    ],
)
def test_paths_are_paths_from_somewhere(tmp_path, monkeypatch, key, value, is_path):
    config = changed(CONFIG, key, value)
    identities, values = set(), []
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "found").write_bytes(b"weights")
        monkeypatch.chdir(tmp_path / place)
        identities.add(identity(config))
        values.append(flatten(located(config))[key])
        assert identity(located(config)) == identity(config)
    assert len(identities) == 1 + is_path
    assert values == ([str(tmp_path / place / value) for place in ("one", "two")] if is_path else [value] * 2)


def test_two_working_directories_are_two_runs(config, tmp_path, monkeypatch):
    config = changed(config, "dataset.path", "photos")
    folders = []
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
        monkeypatch.chdir(tmp_path / place)
        run = finish(config)
        folders.append(run.folder)
        written = yaml.safe_load((run.folder / "config.yaml").read_text())
        assert written["dataset"]["path"] == str(tmp_path / place / "photos")
    assert len(set(folders)) == 2


def test_a_sweep_from_another_working_directory_has_other_runs(tmp_path, monkeypatch, one_composer):
    words = ["dataset=folder", "dataset.path=photos", "seed=0,1", f"paths.output_dir={tmp_path}"]
    jobs = []
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
        monkeypatch.chdir(tmp_path / place)
        jobs.append({job.folder for job in plan(words, base_config(words)).jobs})
    assert not jobs[0] & jobs[1]


def test_a_finished_run_of_the_first_format_is_known(config):
    folder = leave_old(config)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with open_run(config) as run:
        assert run.folder == folder
        assert run.finished
        assert run.summary() == {"test/map_at_r": 0.25}
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_an_interrupted_run_of_the_first_format_resumes_where_it_is(config):
    folder = leave_old(config, INTERRUPTED)
    with open_run(config) as run:
        assert run.folder == folder
        assert run.resumes
        run.start()
        run.end(INTERRUPTED)
    found = record(run)
    assert (found["format"], found["identity"], found["resumed"]) == (FORMAT, identity(config), 1)
    assert found["wandb_id"] == "abcd"
    (folder / "config.yaml").unlink()
    with open_run(config) as again:
        assert again.folder == folder, "now by its record"
        assert again.resumes
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_never_keeps_a_run_of_the_first_format_aside(config):
    folder = leave_old(config)
    finish(changed(config, "resume", "never"))
    assert json.loads((folder.with_name(f"{folder.name}.1") / "run.json").read_text())["identity"] == OLD
    with open_run(config) as run:
        assert run.finished
        assert run.summary() == {"test/map_at_r": 0.5}


def test_runs_beside_it_are_not_taken_for_it(config):
    leave_old(changed(config, "loss.margin", 0.4), name="00000000")
    leave_old(config, name="11111111", format=FORMAT)
    shutil.copytree(leave_old(config), folder_of(config).with_name(f"seed3-{OLD[:8]}.1"))
    shutil.rmtree(folder_of(config))
    broken = leave_old(config, name="22222222")
    (broken / "run.json").write_text("half of a fi")
    unread = leave_old(config, name="33333333")
    (unread / "config.yaml").write_text("seed: !!python/object/apply:os.getcwd []\n")
    with open_run(config) as run:
        assert not run.record
        assert run.folder.name == f"seed3-{identity(config)[:8]}"


def test_of_several_the_finished_one_counts(config):
    leave_old(config, INTERRUPTED, name="00000000", started="2026-03-01T00:00:00+00:00")
    folder = leave_old(config, name="11111111")
    leave_old(config, name="22222222", started="2025-01-01T00:00:00+00:00")
    assert folder_of(config) == folder


def test_a_sweep_finds_runs_of_the_first_format(tmp_path, one_composer):
    words = ["dataset=digits", "seed=0,1", f"paths.output_dir={tmp_path}"]
    new = [job.folder for job in plan(words, base_config(words)).jobs]
    old = new[0].with_name("seed0-" + "0" * 8)
    config = OmegaConf.to_container(base_config(words), resolve=True)
    del config["hydra"]
    config["loss"]["_target_"] = "metriscope.where.it.was"
    old.mkdir(parents=True)
    (old / "config.yaml").write_text(yaml.safe_dump(config))
    (old / "run.json").write_text('{"status": "finished", "identity": "1"}')
    for _ in range(2):
        made = plan(words, base_config(words))
        assert [job.folder for job in made.jobs] == [old, new[1]]
        assert [job.folder for job in made.todo] == [new[1]]
    assert {state.folder.name: state.status for state in states_of(tmp_path / "default")} == {
        old.name: "finished",
        new[1].name: "missing",
    }
    shutil.rmtree(old)
    assert [job.folder for job in plan(words, base_config(words)).todo] == new


def test_compare_reads_both_formats(config):
    leave_old(config)
    finish(changed(config, "seed", 4))
    study = load_study(Path(config["paths"]["output_dir"]) / "trial")
    assert not study.problems
    assert [(run.config["seed"], run.status) for run in study.runs] == [(3, "finished"), (4, "finished")]


@pytest.mark.parametrize("hashed_alike", [True, False])
def test_a_run_of_a_later_format_is_one_line_and_left_alone(config, hashed_alike):
    folder = finish(config).folder if hashed_alike else leave_old(config)
    path = folder / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": FORMAT + 1}))
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    line = (
        "was written by a later version of Metriscope (format 3, this one reads up to 2): update, or set another study"
    )
    for resume in ("auto", "never", "must"):
        with pytest.raises(InputError) as refused, open_run(changed(config, "resume", resume)):
            pass
        assert str(refused.value) == f"{path} {line}"
    study = Path(config["paths"]["output_dir"]) / "trial"
    (state,) = states_of(study)
    assert (state.status, state.reason) == ("broken", f"run.json {line}")
    with pytest.raises(InputError) as refused:
        load_study(study)
    assert f"{path} {line}; left out" in str(refused.value)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_to_find_a_folder_takes_no_torch(config):
    folder = leave_old(config)
    code = (
        f"import sys; from metriscope.run.folder import folder_of; print('torch' in sys.modules, folder_of({config!r}))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout == f"False {folder}\n"


def test_a_whole_run_of_the_first_format_goes_on(tiny):
    """Trained for an epoch, then put back to the first format by hand."""
    whole = train(tiny("seed=1"))
    wanted = (whole.folder / "metrics.csv").read_bytes()
    config = yaml.safe_load((whole.folder / "config.yaml").read_text())
    config["loss"]["_target_"] = "metriscope.losses.where_it_was.Triplet"
    old = whole.folder.rename(whole.folder.with_name("seed1-01234567"))
    written = json.loads((old / "run.json").read_text())
    del written["format"], written["data"]
    (old / "run.json").write_text(json.dumps(written | {"status": INTERRUPTED, "identity": "0" * 64}))
    (old / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    again = train(tiny("seed=1"))
    assert again.folder == old
    assert again.metrics == whole.metrics
    assert (old / "metrics.csv").read_bytes() == wanted
    found = json.loads((old / "run.json").read_text())
    assert (found["status"], found["resumed"], found["format"]) == ("finished", 1, FORMAT)
    assert found["data"]["content"]["examples"] == 200
    assert not train(tiny("seed=1")).trained
