"""What may happen in a run folder."""

import json
import os
from pathlib import Path

import pytest
import yaml
from run_folders import CONFIG, changed, finish, record

from metriscope.errors import InputError
from metriscope.run.folder import open_run
from metriscope.run.identity import identity
from metriscope.run.ranks import forget_stale_ranks, is_main_process
from metriscope.run.record import FAILED, FINISHED, INTERRUPTED


@pytest.fixture
def config(tmp_path):
    return changed(CONFIG, "paths.output_dir", str(tmp_path / "outputs"))


def test_a_new_run_is_recorded(config):
    with open_run(config) as run:
        assert not run.finished
        assert not run.resumes
        assert run.is_main
        run.start()
        assert record(run)["status"] == "running"
        run.end(FINISHED)
    found = record(run)
    assert yaml.safe_load((run.folder / "config.yaml").read_text()) == config
    assert (found["status"], found["reason"], found["seed"], found["resumed"]) == ("finished", None, 3, 0)
    assert found["identity"] == identity(config)
    assert found["pid"] == os.getpid()
    assert found["seconds"] >= 0
    assert found["started"] <= found["ended"]
    assert {"torch", "python", "metriscope", "pytorch-lightning"} <= set(found["versions"])
    assert set(found["git"]) == {"commit", "dirty"}
    assert found["host"]
    assert found["wandb_id"]


def test_a_finished_run_is_known(config):
    finish(config)
    with open_run(config) as run:
        assert run.finished
        assert not run.resumes
        assert run.summary() == {"test/map_at_r": 0.5}


@pytest.mark.parametrize("status", [FAILED, INTERRUPTED, "running"])
def test_an_unfinished_run_with_a_checkpoint_resumes(config, status):
    before = record(finish(config, status))
    with open_run(config) as run:
        assert run.resumes
        assert not run.finished
        run.start()
        run.end(FINISHED)
    found = record(run)
    assert run.last_checkpoint.read_bytes() == b"state"
    assert (found["wandb_id"], found["started"]) == (before["wandb_id"], before["started"])
    assert (found["resumed"], found["reason"]) == (1, None)
    assert found["seconds"] >= before["seconds"]


def test_an_unfinished_run_without_a_checkpoint_begins_clean(config):
    run = finish(config, FAILED)
    run.last_checkpoint.unlink()
    (run.folder / "checkpoints" / "best.ckpt").write_bytes(b"old")
    (run.folder / "figures").mkdir()
    (run.folder / "figures" / "old.png").write_bytes(b"")
    with open_run(config) as again:
        assert not again.resumes
        again.start()
    assert not (run.folder / "figures").exists()
    assert not (run.folder / "metrics.csv").exists()
    assert not again.best_checkpoint.exists()
    assert record(again)["resumed"] == 0


def test_links_in_the_folder_lead_nowhere(config, tmp_path):
    """The folder may come from somebody else."""
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "last.ckpt").write_bytes(b"mine")
    run = finish(config, INTERRUPTED)
    (run.folder / "metrics.csv").unlink()
    (run.folder / "metrics.csv").symlink_to(victim / "last.ckpt")
    (run.folder / "checkpoints").rename(run.folder / "elsewhere")
    (run.folder / "checkpoints").symlink_to(victim)
    with pytest.raises(InputError, match=r"metrics\.csv is a link"), open_run(config):
        pass
    (run.folder / "metrics.csv").unlink()
    with pytest.raises(InputError, match="checkpoints is a link"), open_run(config):
        pass
    assert (victim / "last.ckpt").read_bytes() == b"mine"


def test_never_keeps_the_old_run_aside(config):
    run = finish(config)
    for number in (1, 2):
        with open_run(changed(config, "resume", "never")) as again:
            assert not again.finished
            assert not again.resumes
            again.start()
            again.end(FINISHED)
        kept = run.folder.with_name(f"{run.folder.name}.{number}")
        assert json.loads((kept / "run.json").read_text())["status"] == "finished"
        assert again.folder == run.folder
    assert (run.folder.with_name(f"{run.folder.name}.1") / "checkpoints" / "last.ckpt").exists()


def test_never_on_a_new_run_keeps_nothing(config):
    with open_run(changed(config, "resume", "never")) as run:
        run.start()
    assert [path.name for path in run.folder.parent.iterdir()] == [run.folder.name]


def test_must_needs_something_to_resume(config):
    must = changed(config, "resume", "must")
    with pytest.raises(InputError, match=r"resume=must.*resume=auto"), open_run(must):
        pass
    finish(config, INTERRUPTED)
    with open_run(must) as run:
        assert run.resumes
        run.start()
        run.end(FINISHED)
    with open_run(must) as run:
        assert run.finished


def test_one_process_at_a_time(config):
    with open_run(config) as run:
        run.start()
        with pytest.raises(InputError, match=rf"worked on by process {os.getpid()} on \S+: wait"), open_run(config):
            pass
        with open_run(changed(config, "seed", 4)):
            pass
    with open_run(config):
        pass


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_the_lock_is_free_again_after_an_error(config, error):
    with pytest.raises(error), open_run(config):
        raise error
    with open_run(config):
        pass


@pytest.mark.parametrize("error", [PermissionError, NotADirectoryError, FileNotFoundError])
def test_an_error_of_the_run_is_not_taken_for_one_of_the_folder(config, error):
    """A data file that cannot be read is no matter of paths.output_dir."""

    def work():
        with open_run(config) as run:
            run.start()
            raise error(13, "cannot be read", "data/weights.pt")

    with pytest.raises(error, match="weights"):
        work()


def test_the_same_folder_of_another_config_is_left_alone(config):
    run = finish(config)
    written = record(run) | {"identity": "0" * 64}
    (run.folder / "run.json").write_text(json.dumps(written))
    with pytest.raises(InputError, match="another config"), open_run(config):
        pass
    assert record(run) == written


@pytest.mark.parametrize("content", ["", "{", "[1, 2]", "null", '"text"'])
def test_a_broken_record_is_one_line(config, content):
    run = finish(config)
    (run.folder / "run.json").write_text(content)
    with pytest.raises(InputError, match=r"run\.json.*move the folder away") as caught, open_run(config):
        pass
    assert "\n" not in str(caught.value)


def test_a_finished_run_that_lost_its_summary_is_one_line(config):
    run = finish(config)
    (run.folder / "summary.json").unlink()
    with open_run(config) as again, pytest.raises(InputError, match=r"summary\.json"):
        again.summary()


def test_an_output_folder_that_is_a_file(config, tmp_path):
    (tmp_path / "outputs").write_text("")
    with pytest.raises(InputError, match=r"cannot write .*outputs.*set paths\.output_dir"), open_run(config):
        pass


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a folder that nobody can write to, root included")
def test_an_output_folder_that_is_read_only():
    config = changed(CONFIG, "paths.output_dir", "/proc/outputs")
    with pytest.raises(InputError, match=r"cannot write .*set paths\.output_dir") as caught, open_run(config):
        pass
    assert "\n" not in str(caught.value)


WORLDS = [
    ("RANK", "WORLD_SIZE"),
    ("LOCAL_RANK", "WORLD_SIZE"),
    ("SLURM_PROCID", "SLURM_NTASKS"),
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
]


@pytest.mark.parametrize(("name", "size"), WORLDS)
def test_other_ranks_touch_nothing(config, monkeypatch, name, size):
    monkeypatch.setenv(size, "2")
    monkeypatch.setenv(name, "0")
    with open_run(config) as first:
        first.start()
        before = (first.folder / "run.json").read_bytes()
        monkeypatch.setenv(name, "1")
        with open_run(config) as run:
            assert not run.is_main
            run.start()
            run.end(FINISHED)
        assert (first.folder / "run.json").read_bytes() == before


def test_other_ranks_do_not_wait_for_ever(config, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr("metriscope.run.folder._JOIN_SECONDS", 0.2)
    with pytest.raises(InputError, match="not claimed"), open_run(config):
        pass
    assert not Path(config["paths"]["output_dir"]).exists()


@pytest.mark.parametrize(("name", "size"), WORLDS)
@pytest.mark.parametrize("processes", [None, "1"])
def test_a_rank_in_a_world_of_one_is_the_first(config, monkeypatch, name, size, processes):
    monkeypatch.setenv(name, "1")
    if processes:
        monkeypatch.setenv(size, processes)
    with open_run(config) as run:
        assert run.is_main
        run.start()
        assert (run.folder / "run.json").exists()
    forget_stale_ranks(config["trainer"])
    assert name not in os.environ


def test_ranks_of_processes_started_by_hand_stay(config, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    trainer = {**config["trainer"], "devices": 2}
    assert not is_main_process(trainer)
    forget_stale_ranks(trainer)
    assert os.environ["LOCAL_RANK"] == "1"
