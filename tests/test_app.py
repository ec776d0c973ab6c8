"""The whole run: what it leaves behind, and that it is the same every time."""

import contextlib
import csv
import io
import json
import math
import os
import signal
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from omegaconf import OmegaConf
from tiny_runs import TINY

from metriscope.app import train
from metriscope.config.compose import compose_config
from metriscope.config.files import CONFIG_DIR, choices
from metriscope.data import loading, splits
from metriscope.errors import InputError
from metriscope.evaluation.retrieval import retrieval_metrics

EVALUATED = ("recall_at_1", "recall_at_2", "precision_at_1", "mrr", "r_precision", "map_at_r")
EVALUATED += ("variance_intra", "variance_inter", "variance_inter_pairwise", "variance_inter_spread", "variance_ratio")
WATCHED = ("loss", "active_ratio", "active_ratio_pairs", "grad_norm_embedding", "grad_norm_embedding_active")
KEYS = {f"{stage}/{name}" for stage in ("val", "test") for name in EVALUATED}
KEYS |= {f"{stage}/{name}" for stage in ("train", "val") for name in (*WATCHED, "loss_decay_rate")}
KEYS |= {f"train/{name}" for name in ("grad_norm", "grad_norm_trunk", "grad_norm_head")}
KEYS |= {"train/loss_decay_fit", "train/loss_half_life", "best/epoch", "best/val/map_at_r"}


def weights(path):
    return torch.load(path, weights_only=True)["state_dict"]


def same_weights(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def rows(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def column(folder, key):
    return [float(row[key]) for row in rows(folder) if row.get(key)]


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """One run on real images with everything it can write, and what it printed."""
    output = tmp_path_factory.mktemp("digits")
    words = ["dataset=digits", "trainer=cpu", "trainer.max_epochs=2", "trainer.log_every_n_steps=2", "logger=files"]
    words += [
        "evaluation.save_embeddings=true",
        "evaluation.metrics.recall_at.k=[1,2]",
        "backbone.widths=[4,8]",
        "head.size=16",
        "optimizer.lr=0.003",
    ]
    cfg = compose_config([*words, f"paths.output_dir={output}"])
    printed, threads = io.StringIO(), torch.get_num_threads()
    torch.set_num_threads(1)
    with contextlib.redirect_stdout(printed):
        outcome = train(cfg)
    torch.set_num_threads(threads)
    return cfg, outcome, printed.getvalue()


def test_a_run_folder_has_everything(digits):
    cfg, outcome, _ = digits
    found = {path.relative_to(outcome.folder).as_posix() for path in outcome.folder.rglob("*") if path.is_file()}
    wanted = {"config.yaml", "run.json", "metrics.csv", "summary.json", "train.log", "embeddings.npz"}
    assert wanted | {"checkpoints/best.ckpt", "checkpoints/last.ckpt"} <= found
    figures = {name for name in found if name.startswith("figures/")}
    assert {"figures/projection.png", "figures/retrieval_gallery.png"} <= figures
    assert len(figures) >= 4, "and those of the history"
    assert found == wanted | {"checkpoints/best.ckpt", "checkpoints/last.ckpt"} | figures, "and nothing else"
    assert yaml.safe_load((outcome.folder / "config.yaml").read_text()) == OmegaConf.to_container(cfg, resolve=True)
    record = json.loads((outcome.folder / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["seconds"] > 0


def test_the_keys_that_others_rely_on(digits):
    _, outcome, _ = digits
    summary = json.loads((outcome.folder / "summary.json").read_text())
    wanted = KEYS | {"test/knn_accuracy", "test/linear_probe_accuracy"}
    assert wanted <= set(summary)
    assert all(isinstance(summary[key], int | float) and math.isfinite(summary[key]) for key in wanted)
    assert summary == pytest.approx(outcome.metrics)
    header = set(rows(outcome.folder)[0])
    assert {key for key in KEYS if not key.startswith(("best/", "train/loss_decay_fit", "train/loss_half"))} <= header
    assert {"epoch", "step", "train/loss_step", "train/active_ratio_step", "train/grad_norm_step"} <= header
    assert not {key for key in header if key not in ("epoch", "step") and "/" not in key}


def test_the_summary_is_drawn_from_the_history(digits):
    _, outcome, _ = digits
    for key in ("train/loss", "val/map_at_r", "val/loss", "train/loss_decay_rate", "test/recall_at_1"):
        assert outcome.metrics[key] == pytest.approx(column(outcome.folder, key)[-1])
    losses = column(outcome.folder, "train/loss")
    assert outcome.metrics["train/loss_decay_rate"] == pytest.approx((losses[0] - losses[1]) / losses[0], rel=1e-5)
    assert outcome.metrics["train/loss_decay_fit"] == pytest.approx(math.log(losses[0] / losses[1]), rel=1e-5)


def test_the_checkpoint_that_validation_picked_is_the_one_tested(run):
    """Whichever way is better: in one of the two, the picked epoch is not the last."""
    picked = set()
    for mode, choose in (("max", max), ("min", min)):
        outcome = run("evaluation.monitor=val/variance_ratio", f"evaluation.mode={mode}", "trainer.max_epochs=3")
        values = column(outcome.folder, "val/variance_ratio")
        best = values.index(choose(values))
        picked.add(best)
        assert outcome.metrics["best/epoch"] == best
        assert outcome.metrics["best/val/variance_ratio"] == pytest.approx(values[best])
        checkpoint = outcome.folder / "checkpoints" / "best.ckpt"
        assert torch.load(checkpoint, weights_only=True)["epoch"] == best
        assert same_weights(outcome.module.state_dict(), weights(checkpoint))
    assert len(picked) == 2


def test_the_picked_values_are_those_of_its_step(run):
    """An epoch with several validations has several values."""
    words = ("evaluation.monitor=val/variance_intra", "evaluation.mode=min", "trainer.max_epochs=3")
    outcome = run(*words, "+trainer.val_check_interval=2")
    values = column(outcome.folder, "val/variance_intra")
    assert len(values) == 6
    checkpoint = torch.load(outcome.folder / "checkpoints" / "best.ckpt", weights_only=True)
    (place,) = [i for i, value in enumerate(values) if value == min(values)]
    assert outcome.metrics["best/val/variance_intra"] == pytest.approx(min(values))
    assert outcome.metrics["best/epoch"] == checkpoint["epoch"] == place // 2
    assert checkpoint["global_step"] == 5 * (place // 2) + (2, 4)[place % 2]


def test_of_a_loss_the_lowest_is_picked(run):
    """Whatever else goes by it: early stopping, the schedule, and the record agree."""
    words = ("callbacks=early_stopping", "scheduler=plateau", "trainer.max_epochs=3")
    outcome = run("evaluation.monitor=val/loss", *words)
    values = column(outcome.folder, "val/loss")
    assert values.index(min(values)) != values.index(max(values))
    assert outcome.metrics["best/epoch"] == values.index(min(values))
    trainer = outcome.trainer
    assert trainer.early_stopping_callback.mode == "min"
    assert trainer.checkpoint_callback.mode == "min"
    assert trainer.lr_scheduler_configs[0].scheduler.mode == "min"
    described = json.loads((outcome.folder / "run.json").read_text())["metrics"]
    assert (described["loss"], described["mrr"]) == (["loss", "min"], ["MRR", "max"])


def test_a_schedule_goes_by_the_mode_of_the_metric_it_shares(run):
    outcome = run("evaluation.monitor=val/variance_ratio", "evaluation.mode=min", "scheduler=plateau")
    assert outcome.trainer.lr_scheduler_configs[0].scheduler.mode == "min"


def test_embeddings_are_those_that_were_judged(digits):
    _, outcome, _ = digits
    with np.load(outcome.folder / "embeddings.npz", allow_pickle=False) as saved:
        embeddings, labels = torch.from_numpy(saved["embeddings"]), torch.from_numpy(saved["labels"])
        assert saved["classes"].tolist() == list("0123456789")
    test = outcome.data.splits.test
    assert torch.equal(labels, test.labels)
    assert embeddings.shape == (len(test), 16)
    assert embeddings.norm(dim=1).allclose(torch.ones(len(test)))
    found = retrieval_metrics(embeddings, labels, (1, 2))
    assert {f"test/{key}": value for key, value in found.items()}.items() <= {
        key: pytest.approx(value, rel=1e-6) for key, value in outcome.metrics.items()
    }.items()


def test_a_table_at_the_end(digits):
    _, outcome, printed = digits
    for word in ("closed set", "2 epochs", "Recall@1", "MAP@R", "active ratio", f"run folder: {outcome.folder}"):
        assert word in printed


def test_digits_are_learnt(digits):
    assert digits[1].metrics["test/recall_at_1"] > 0.4


def test_the_same_seed_gives_the_same_bits(run):
    one = run()
    first = (one.folder / "metrics.csv").read_bytes(), weights(one.folder / "checkpoints" / "last.ckpt")
    other = run("resume=never")
    assert other.folder == one.folder
    assert (other.folder / "metrics.csv").read_bytes() == first[0]
    assert same_weights(weights(other.folder / "checkpoints" / "last.ckpt"), first[1])
    assert other.metrics == one.metrics
    different = run("seed=1")
    assert (different.folder / "metrics.csv").read_bytes() != first[0]
    assert not same_weights(weights(different.folder / "checkpoints" / "last.ckpt"), first[1])


def test_what_the_process_did_before_does_not_matter(run):
    one = run()
    torch.manual_seed(1234)
    torch.rand(17)
    np.random.seed(1)
    assert run("resume=never").metrics == one.metrics


def test_a_finished_run_is_not_run_again(run, capsys, monkeypatch):
    one = run()
    files = {path: path.stat().st_mtime_ns for path in one.folder.rglob("*") if path.is_file()}
    monkeypatch.setattr("metriscope.app._execute", None)
    capsys.readouterr()
    other = run("tags=[again]", "trainer.log_every_n_steps=3")
    assert other.metrics == json.loads((one.folder / "summary.json").read_text())
    assert not other.trained
    assert "finished before" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in one.folder.rglob("*") if path.is_file()} == files


def test_a_finished_run_gives_what_it_was_made_of(run):
    one = run()
    files = {path: path.stat().st_mtime_ns for path in one.folder.rglob("*") if path.is_file()}
    other = run()
    torch.manual_seed(5)
    before = torch.get_rng_state()
    best = weights(one.folder / "checkpoints" / "best.ckpt")
    assert same_weights(other.module.state_dict(), best)
    assert same_weights(one.module.state_dict(), best)
    assert torch.equal(torch.get_rng_state(), before)
    assert not other.module.training
    assert len(other.data.splits.train) == len(one.data.splits.train)
    other.trainer.test(other.module, datamodule=other.data, verbose=False)
    found = {key: float(value) for key, value in other.trainer.callback_metrics.items()}
    assert found["test/map_at_r"] == one.metrics["test/map_at_r"]
    assert {path: path.stat().st_mtime_ns for path in one.folder.rglob("*") if path.is_file()} == files


def test_a_finished_run_without_its_checkpoints(run):
    one = run("trainer.max_epochs=1")
    (one.folder / "checkpoints" / "best.ckpt").write_bytes(b"")
    with pytest.raises(InputError, match=r"best\.ckpt is no checkpoint of this run"):
        run("trainer.max_epochs=1").module  # noqa: B018
    for path in (one.folder / "checkpoints").iterdir():
        path.unlink()
    other = run("trainer.max_epochs=1")
    assert other.module is None
    assert other.data.num_classes == 5


@pytest.mark.parametrize("job", [False, True])
def test_a_thread_trains_like_any_other(run, tiny, monkeypatch, job):
    if job:
        monkeypatch.setenv("SUBMITIT_EXECUTOR", "local")
    wanted = run()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}
    threads = torch.get_num_threads()
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(train, tiny("resume=never")).result()
    assert found.trained
    assert found.metrics == wanted.metrics
    assert json.loads((found.folder / "run.json").read_text())["status"] == "finished"
    assert {number: signal.getsignal(number) for number in handlers} == handlers
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("name", ["LOCAL_RANK", "RANK", "SLURM_PROCID"])
def test_a_rank_that_was_left_in_the_environment(run, monkeypatch, name):
    monkeypatch.setenv(name, "1")
    # As Lightning has it where it was imported with the variable there.
    monkeypatch.setattr("lightning_fabric.utilities.rank_zero.rank_zero_only.rank", 1)
    folder = run("trainer.max_epochs=1").folder
    assert json.loads((folder / "run.json").read_text())["status"] == "finished"
    assert rows(folder)
    assert (folder / "checkpoints" / "best.ckpt").exists()


@pytest.mark.processes
def test_the_command_with_a_rank_that_was_left_in_the_environment(tmp_path):
    command = [sys.executable, str(CONFIG_DIR.parent / "train.py"), *TINY, f"paths.output_dir={tmp_path}"]
    done = subprocess.run(
        [*command, "trainer.max_epochs=1"], env={**os.environ, "LOCAL_RANK": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (record,) = tmp_path.rglob("run.json")
    assert json.loads(record.read_text())["status"] == "finished"
    assert rows(record.parent)
    assert (record.parent / "summary.json").exists()


def test_never_runs_it_afresh_and_keeps_the_old_one(run):
    one = run()
    other = run("resume=never")
    assert other.trained
    assert (one.folder.with_name(f"{one.folder.name}.1") / "summary.json").exists()


def test_must_refuses_where_there_is_nothing(run):
    with pytest.raises(InputError, match="resume=must"):
        run("resume=must")


def test_one_that_has_no_validation_set(run):
    outcome = run("dataset.validation=0")
    assert not any(key.startswith(("val/", "best/")) for key in outcome.metrics)
    assert not (outcome.folder / "checkpoints" / "best.ckpt").exists()
    last = weights(outcome.folder / "checkpoints" / "last.ckpt")
    assert same_weights(outcome.module.state_dict(), last)
    assert len(outcome.data.splits.train) == 100


def test_classes_apart(run):
    outcome = run("dataset.protocol=class_disjoint", "dataset.classes=12", "evaluation.classification=auto")
    assert set(outcome.metrics) >= KEYS
    splits = outcome.data.splits
    parts = [set(part.classes) for part in (splits.train, splits.validation, splits.test)]
    assert len(set.union(*parts)) == sum(map(len, parts)) == 12
    assert "test/knn_accuracy" not in outcome.metrics


def test_without_diagnostics(run):
    keys = set(run("diagnostics=none", "trainer.max_epochs=1").metrics)
    assert {"train/loss", "train/active_ratio", "test/map_at_r"} <= keys
    assert not any("variance" in key or "grad_norm" in key or "active_ratio_pairs" in key for key in keys)


def test_the_trunk_as_the_embedding(run):
    outcome = run("head=identity", "head.size=null", "trainer.max_epochs=1")
    assert outcome.module.evaluated.embeddings.shape[1] == 12
    assert "train/grad_norm_head" not in outcome.metrics
    assert outcome.metrics["train/grad_norm"] == pytest.approx(outcome.metrics["train/grad_norm_trunk"])


def test_a_frozen_trunk(run):
    outcome = run("backbone.freeze=true", "trainer.max_epochs=1")
    assert "train/grad_norm_trunk" not in outcome.metrics
    assert outcome.metrics["train/grad_norm_head"] > 0


@pytest.mark.parametrize("word", [f"{group}={name}" for group in ("optimizer", "scheduler") for name in choices(group)])
def test_every_optimizer_and_every_schedule_train(run, word):
    outcome = run(word, "trainer.limit_train_batches=2")
    assert math.isfinite(outcome.metrics["train/loss"])
    assert outcome.metrics["train/grad_norm"] > 0


def test_warm_up_reaches_the_optimizer(run):
    outcome = run("scheduler.warmup_epochs=1", "trainer.max_epochs=2", "optimizer=sgd", "optimizer.lr=0.1")
    assert outcome.trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.1)


@pytest.mark.parametrize("precision", ["bf16-mixed", "64-true"])
def test_other_precisions(run, precision):
    plain, other = run("trainer.max_epochs=1"), run("trainer.max_epochs=1", f"trainer.precision={precision}")
    assert other.metrics["train/loss"] == pytest.approx(plain.metrics["train/loss"], rel=0.05)
    assert other.metrics["train/grad_norm"] == pytest.approx(plain.metrics["train/grad_norm"], rel=0.1)


def test_batches_of_one_class_warn_once_and_train_on(run):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        outcome = run("sampler.classes_per_batch=1")
    about = [str(w.message) for w in caught if "no valid term" in str(w.message)]
    assert len(about) == 1
    assert "sampler.classes_per_batch" in about[0]
    assert outcome.metrics["train/loss"] == 0
    assert outcome.metrics["train/active_ratio"] == 0
    assert json.loads((outcome.folder / "run.json").read_text())["status"] == "finished"


def test_parts_of_the_data(run):
    """As trainer=debug has it: a handful of batches of each part."""
    outcome = run("trainer=debug", "evaluation.batch_size=4")
    assert len(outcome.module.evaluated.embeddings) == 8


def test_everything_that_an_evaluation_gives_on_request(run):
    outcome = run(
        "evaluation.layers=[trunk,embedding]",
        "evaluation.metrics.precision_at.k=[1,3]",
        "evaluation.metrics.clustering=true",
        "evaluation.per_class=true",
        "evaluation.spectrum=true",
        "evaluation.classification=true",
        "evaluation.monitor=val/map_at_r_trunk",
    )
    for name in ("recall_at_1", "precision_at_3", "mrr", "map_at_r", "variance_intra", "participation_ratio"):
        for key in (f"val/{name}", f"val/{name}_trunk", f"test/{name}", f"test/{name}_trunk"):
            assert key in outcome.metrics, key
    assert outcome.metrics["test/variance_intra"] != outcome.metrics["test/variance_intra_trunk"]
    assert 0 <= outcome.metrics["test/nmi"] <= 1
    assert "test/ami" in outcome.metrics
    assert "val/nmi" not in outcome.metrics
    with (outcome.folder / "per_class.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 5
    recall = sum(float(line["recall_at_1"]) * int(line["queries"]) for line in lines) / 100
    assert recall == pytest.approx(outcome.metrics["test/recall_at_1"])
    for name in ("nmi", "knn_accuracy", "linear_probe_accuracy"):
        assert 0 <= outcome.metrics[f"test/{name}_trunk"] <= 1
    with (outcome.folder / "spectrum.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    for layer, suffix in (("embedding", ""), ("trunk", "_trunk")):
        shares = [float(line["variance_share"]) for line in lines if line["layer"] == layer]
        assert sum(shares) == pytest.approx(1)
        assert shares == sorted(shares, reverse=True)
        participation = 1 / sum(share**2 for share in shares)
        assert outcome.metrics[f"test/participation_ratio{suffix}"] == pytest.approx(participation, rel=1e-6)


def test_queries_of_a_data_set_search_its_gallery(run, monkeypatch):
    queries = torch.arange(100) % 3 == 0
    monkeypatch.setattr(loading, "split", lambda *what: replace(splits.split(*what), queries=queries))
    outcome = run("evaluation.save_embeddings=true", "evaluation.metrics.recall_at.k=[1,2,4,8]", "trainer.max_epochs=1")
    with np.load(outcome.folder / "embeddings.npz") as saved:
        embeddings, labels = torch.from_numpy(saved["embeddings"]), torch.from_numpy(saved["labels"])
    expected = retrieval_metrics(embeddings, labels, queries=queries)
    assert expected != retrieval_metrics(embeddings, labels)
    assert {key: outcome.metrics[f"test/{key}"] for key in expected} == pytest.approx(expected, rel=1e-6)


def test_fewer_evaluations_than_epochs(run):
    outcome = run("evaluation.every_n_epochs=2", "trainer.max_epochs=3")
    assert len(column(outcome.folder, "val/map_at_r")) == 1
    assert outcome.metrics["best/epoch"] == 1


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["sampler=shuffle", "sampler.batch_size=1", "head=mlp"], "a batch of one sample has no statistics for batch "),
        (["+trainer.val_check_interval=100"], "trainer.val_check_interval=100: an epoch has 5 batches; set it to at"),
        (["head._target_=torch.nn.Identity"], "head: Identity lacks an attribute: give it size, the number of its"),
    ],
)
def test_what_shows_once_the_data_are_there_is_one_line(run, words, line):
    with pytest.raises(InputError) as caught:
        run(*words)
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)


def test_a_metric_that_there_is_not(run):
    with pytest.raises(InputError, match=r"evaluation\.monitor=val/mapp_at_r.*val/map_at_r"):
        run("evaluation.monitor=val/mapp_at_r")


def test_a_schedule_that_watches_what_there_is_not(run):
    with pytest.raises(InputError, match=r"scheduler\.monitor=val/mapp_at_r"):
        run("scheduler=plateau", "scheduler.monitor=val/mapp_at_r")


def test_an_accelerator_that_is_not_there(run):
    if torch.cuda.is_available():
        pytest.skip("it is")
    with pytest.raises(InputError, match=r"accelerator=gpu"):
        run("trainer.accelerator=gpu")


def test_a_run_that_failed_at_its_input_can_be_put_right(run):
    with pytest.raises(InputError, match=r"sampler\.classes_per_batch=50"):
        run("sampler.classes_per_batch=50")
    assert run().metrics


def test_the_config_is_not_touched(tiny):
    cfg = tiny("trainer.max_epochs=1")
    before = OmegaConf.to_yaml(cfg)
    train(cfg)
    assert OmegaConf.to_yaml(cfg) == before
