"""The command line: what mistakes are answered with, which exit code follows, and what is not imported for it."""

import subprocess
import sys
from pathlib import Path

import pytest

import metriscope.app
from metriscope.cli import train as main
from metriscope.commands.train import check_command
from metriscope.config.compose import compose_config
from metriscope.config.search_path import with_folder
from metriscope.errors import InputError, RunError
from metriscope.outcome import Outcome

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "torchvision", "pytorch_lightning", "torchmetrics", "wandb", "sklearn", "matplotlib", "pandas")


def refusal(*words, **options):
    with pytest.raises(InputError) as caught:
        check_command(list(words), **options)
    line = str(caught.value)
    assert "\n" not in line
    return line


@pytest.mark.processes
@pytest.mark.parametrize(
    ("word", "wanted", "nearest"),
    [
        ("loss=tripplet", "loss=tripplet: no such choice", "'triplet'"),
        ("dataset=mnisst", "dataset=mnisst: no such choice", "'mnist'"),
        ("miner=semi_hard", "miner=semi_hard: no such choice", "'semihard'"),
        ("backbone=resnet_50", "backbone=resnet_50: no such choice", "'resnet50'"),
        (
            "experiment=paper/contrastive_vs_triplett",
            "experiment=paper/contrastive_vs_triplett: no such choice",
            "'paper/contrastive_vs_triplet'",
        ),
        ("loss.margn=0.1", "loss.margn: no such key", "'loss.margin'"),
        ("los=triplet", "los: no such key", "'loss'"),
        ("trainer.max_epoch=3", "trainer.max_epoch: no such key", "'trainer.max_epochs'"),
        ("sampler.class_per_batch=3", "sampler.class_per_batch: no such key", "'sampler.classes_per_batch'"),
        ("sed=1", "sed: no such key", "'seed'"),
        ("evaluation.monitr=val/loss", "evaluation.monitr: no such key", "'evaluation.monitor'"),
    ],
)
def test_the_nearest_name_is_offered(word, wanted, nearest):
    line = refusal(word)
    assert line.startswith(wanted)
    assert f"did you mean {nearest}?" in line


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("head.name=deep", "a name is the label of a choice; choose with head=..."),
        ("optimizer.name=adan", "choose with optimizer=...; did you mean 'adam'?"),
        ("loss.name=contrastive", "to choose another part, say loss=contrastive"),
        ("backbone.name=resnet34", "or backbone=timm backbone.name=resnet34"),
    ],
)
def test_a_name_does_not_choose(word, said):
    assert said in refusal(word)


@pytest.mark.parametrize(
    ("word", "nearest"),
    [("lr=0.1", "optimizer.lr"), ("epochs=3", "trainer.max_epochs"), ("batch_size=9", "sampler.batch_size")],
)
def test_the_last_part_of_a_key_is_enough_to_find_it(word, nearest):
    assert f"did you mean '{nearest}'?" in refusal(word)


def test_all_choices_are_named_where_none_is_near():
    line = refusal("loss=zzzz")
    assert "did you mean" not in line
    assert line.startswith("loss=zzzz: no such choice")
    assert "contrastive" in line
    assert "triplet" in line


def test_a_misspelt_key_of_a_chosen_part_is_found_in_that_part():
    line = refusal("loss=contrastive", "loss.positive_margins=0.1")
    assert "'loss.positive_margin'" in line


@pytest.mark.parametrize("word", ["loss.margin", "loss=triplet=3", "loss.losses=[", "a b"])
def test_words_that_cannot_be_read(word):
    assert word.split("=")[0] in refusal(word)


@pytest.mark.parametrize("word", ["+loss=triplet", "++loss=triplet"])
def test_a_group_is_chosen_without_a_plus(word):
    assert refusal(word) == f"{word}: this group is chosen without a plus, loss=triplet"


def test_a_choice_that_another_one_asks_for():
    line = refusal("experiment=paper/contrastive_vs_triplet", "loss=arcface")
    assert line.startswith("distance=paper_arcface: no such choice, and another choice asks for it. There are: cosine")


def test_a_word_is_a_key_and_its_value():
    assert refusal("loss") == "cannot read 'loss': give a key and its value, as in loss=..."
    assert refusal("=3") == "cannot read '=3': give a key and its value, as in seed=..."


@pytest.mark.parametrize("word", ["loss=null", "dataset=null", "logger=null", "loss=3", "=3"])
def test_choices_that_are_none(word):
    assert word.split("=")[0] in refusal(word)


@pytest.mark.parametrize("word", ["+loss.margn=0.1", "+trainer.foo=1", "+miner.foo=1", "+dataset.foo=1"])
def test_a_key_that_no_part_takes_is_refused_when_added_too(word, tiny):
    words = [word, *(["dataset=synthetic"] if "dataset" in word else [])]
    with pytest.raises(InputError, match=word.split("=")[0].split(".")[1]):
        metriscope.app.train(tiny(*words))


def test_words_and_flags_stand_in_any_order(call):
    seen = []
    for words in (["-m", "seed=0,1"], ["seed=0,1", "-m"], ["loss=triplet", "-m", "seed=0,-1"]):
        code, streams = call(seen.append, *words)
        # Nothing is trained here, and a sweep that leaves no finished run has failed.
        assert code == (2 if "seed=0,-1" in words else 1), streams.err
    assert len(seen) == 4
    assert "seed=-1" in streams.err
    code, streams = call(seen.append, "loss=contrastive", "--cfg", "job", "seed=3")
    assert (code, "seed: 3" in streams.out, "name: contrastive" in streams.out) == (0, True, True)


def test_of_a_sweep_the_config_of_its_first_job_is_shown(call):
    code, streams = call(lambda cfg: None, "loss=contrastive,triplet", "-m", "--cfg", "job", "seed=3,4")
    assert (code, "seed: 3" in streams.out, "name: contrastive" in streams.out) == (0, True, True), streams.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--config-dir", "nowhere"], "--config-dir=nowhere: no such folder of configs"),
        (["--config-dri", "x"], "--config-dri: no such flag; did you mean '--config-dir'?"),
        (["--config-name", "x"], "--config-name is not for Metriscope"),
        (["--cfg", "jobs"], "--cfg"),
        (["--config-dir"], "--config-dir"),
    ],
)
def test_wrong_flags_are_one_line(call, words, said):
    code, streams = call(lambda cfg: None, *words)
    assert code == 2
    assert streams.err.startswith("metriscope: ")
    assert said in streams.err
    assert streams.err.count("\n") == 1


def test_several_values_need_multirun():
    assert "add -m" in refusal("seed=1,2")
    assert "add -m" in refusal("seed=range(3)")
    check_command(["seed=1,2"], multirun=True)


def test_jobs_of_a_multirun_are_checked_ahead():
    assert refusal("loss=triplet,contrastiv", multirun=True).startswith("loss=contrastiv: no such choice")
    assert "loss=contrastive cannot take" in refusal("loss=triplet,contrastive", "miner=semihard", multirun=True)
    assert refusal("seed=0,1,-1", multirun=True).startswith("seed=-1")


def test_composing_twice_is_composing_once():
    assert compose_config(["seed=1"]) == compose_config(["seed=1"])
    assert compose_config(["seed=1"]) != compose_config(["seed=2"])


def test_configs_of_ones_own(tmp_path):
    (tmp_path / "loss").mkdir()
    (tmp_path / "loss" / "mine.yaml").write_text("# Mine.\ndefaults: [triplet]\nname: mine\nmargin: 0.7\n")
    cfg = compose_config(["loss=mine"], str(tmp_path))
    assert (cfg.loss.name, cfg.loss.margin) == ("mine", 0.7)
    assert "'mine'" in refusal(*with_folder(["loss=mime"], tmp_path))


def python(*words, cwd=ROOT):
    """A Python process with these arguments."""
    command = [sys.executable, *words]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    "words",
    [
        ["loss=tripplet"],
        ["loss.margin"],
        ["-m", "seed=0,-1"],
        ["evaluation.monitor=test/map_at_r"],
    ],
    ids=" ".join,
)
def test_a_mistake_is_one_line_and_exit_code_2(words):
    result = python("train.py", *words)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("metriscope: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.processes
def test_mistakes_and_help_import_nothing_heavy(tmp_path):
    """Said of modules, not of seconds."""
    calls = [
        ["--help"],
        ["--cfg", "job"],
        ["--cfg", "job", "--resolve", "loss=contrastive"],
        ["--version"],
        ["loss=tripplet"],
        ["loss.margn=1"],
        ["-m", "loss=triplet,contrastiv"],
        ["loss.margin"],
    ]
    script = f"""
import contextlib, io, sys
from metriscope.cli import train as main
for words in {calls!r}:
    sys.argv = ["train.py", *words]
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out), contextlib.suppress(SystemExit):
        main()
    heavy = [name for name in {HEAVY!r} if name in sys.modules]
    assert not heavy, (words, heavy)
    assert out.getvalue().strip(), words
"""
    result = python("-c", script, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.processes
def test_help_and_config_say_what_there_is():
    shown = python("train.py", "--help").stdout
    for word in ("loss: ", "dataset: ", "triplet", "digits", "Exit codes", "seed"):
        assert word in shown
    config = python("train.py", "--cfg", "job", "loss=contrastive").stdout
    assert "name: contrastive" in config
    assert "squared: true" in config


@pytest.fixture
def call(monkeypatch, tmp_path, capsys):
    """Runs ``main()`` here; ``train`` does what it is told instead of training."""
    monkeypatch.chdir(tmp_path)

    def go(behaviour, *words):
        monkeypatch.setattr(metriscope.app, "train", behaviour)
        monkeypatch.setattr(sys, "argv", ["train.py", *words, "logger=none"])
        code = 0
        try:
            main()
        except SystemExit as exit_:
            code = exit_.code or 0
        return code, capsys.readouterr()

    return go


def raising(error):
    def train(cfg):
        raise error

    return train


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("the data is not there"), 2),
        (RunError("loss not finite at step 7"), 1),
        (KeyboardInterrupt("stopped by SIGINT"), 130),
    ],
    ids=["input", "run", "interrupt"],
)
def test_how_a_run_ends_is_the_exit_code(call, error, code):
    found, streams = call(raising(error))
    assert found == code
    assert streams.err == f"metriscope: {error}\n"


def test_a_bug_keeps_its_traceback(call):
    with pytest.raises(ZeroDivisionError):
        call(raising(ZeroDivisionError("a bug")))


def test_a_finished_run_is_zero_and_its_config_the_composed_one(call, tmp_path):
    seen = []
    code, _ = call(lambda cfg: seen.append(cfg) or Outcome({"val/map_at_r": 0.5}, Path()), "seed=4", "loss.margin=0.3")
    assert code == 0
    assert seen == [compose_config(["seed=4", "loss.margin=0.3", "logger=none"])]
    assert list(tmp_path.iterdir()) == [], "Hydra leaves nothing behind"


@pytest.mark.processes
def test_the_command_works_from_any_folder(tmp_path):
    script = "import sys; sys.argv = ['train.py', '--cfg', 'job']; from metriscope.cli import train as main; main()"
    result = python("-c", script, cwd=tmp_path)
    assert result.returncode == 0
    assert "name: digits" in result.stdout
