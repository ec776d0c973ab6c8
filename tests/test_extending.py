"""The parts of docs/how-to/extending.md: trained, swept in a sum, compared, listed, and refused with wrong values."""

import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import own_command
import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "how-to" / "extending.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, flags=re.DOTALL)
SHORT = ["trainer=cpu", "trainer.max_epochs=1", "sampler.batch_size=16", "logger=none"]


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A folder with every file of the page."""
    folder = tmp_path_factory.mktemp("own")
    for _, text in BLOCKS:
        first, _, rest = text.partition("\n")
        if first.startswith("# my_"):
            path = folder / first[2:]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(rest, encoding="utf-8")
    return folder


@pytest.fixture
def metriscope(own):
    return partial(own_command.metriscope, own, own)


@pytest.fixture(scope="module")
def words():
    """The page's command, without its first words."""
    (line,) = [line for kind, text in BLOCKS if kind == "console" for line in text.splitlines() if "dataset=" in line]
    return line.split()[3:]


@pytest.mark.processes
def test_every_part_of_the_page_trains_and_compares(metriscope, words):
    done = metriscope("train", *words, *SHORT, "-m", "seed=0,1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 runs: 2 finished" in done.stdout
    summed = "loss.losses=[{name: pull_together, weight: 0.5}, {name: contrastive, margin: 0.3}]"
    done = metriscope("train", *words, *SHORT, "loss=sum", summed)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "sum-near" in done.stdout
    compared = metriscope("compare", "outputs/default", "--by", "loss.name", "--format", "csv")
    assert compared.returncode == 0, compared.stderr
    assert "3 finished runs in 2 groups" in compared.stdout


def line_with(word):
    """The command of the page with this word."""
    (line,) = [line for kind, text in BLOCKS if kind == "console" for line in text.splitlines() if word in line]
    return line


@pytest.mark.processes
def test_a_loss_of_rows_learns_its_parameter(own):
    done = subprocess.run(
        [sys.executable, "-c", "import torch; from my_rows import Softened; loss = Softened()\n"
         "loss(torch.randn(8, 4), torch.arange(8) // 2).backward(); assert loss.logarithm.grad != 0"],
        cwd=own, capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.processes
def test_a_loss_of_rows_trains(metriscope):
    done = metriscope("train", *line_with("loss=softened").split()[3:], *SHORT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.processes
def test_weights_and_references_train(metriscope):
    line = line_with("weighting=")
    done = metriscope("train", *line.split()[3:], *SHORT)
    assert done.returncode == 0, done.stdout + done.stderr
    refused = metriscope("train", *line.split()[3:], *SHORT, "loss=triplet")
    assert refused.returncode == 2
    assert "weighting=hard weighs rows, which loss=triplet cannot use: use one of " in refused.stderr


@pytest.mark.processes
def test_a_loss_by_itself(own):
    done = subprocess.run([sys.executable, "my_script.py"], cwd=own, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr


def test_help_lists_them(metriscope):
    shown = metriscope("train", "--config-dir", "my_configs", "--help").stdout
    for line in (
        "pull_together          Pulls positives together.",
        "near                   Pairs nearer than a radius.",
    ):
        assert line in shown
    assert "rings" in shown


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ("loss.weight=-1", "loss.weight=-1: it has to be a number above 0"),
        ("+loss.wieght=1", "loss.wieght: PullTogether takes no such argument; did you mean 'weight'?"),
        ("miner.radius=far", "miner.radius=far: it has to be a number above 0"),
        ("miner=semihard", "loss=pull_together cannot take miner=semihard (it selects band)"),
        ("backbone.width=0", "backbone.width=0: it has to be a whole number of at least 1"),
        ("head.scale=no", "head.scale=no: it has to be a number"),
        ("sampler.batch_size=0", "sampler.batch_size=0: it has to be a whole number of at least 1"),
        ("+sampler.bach_size=8", "sampler.bach_size: Drawn takes no such argument; did you mean 'batch_size'?"),
        ("+sampler.rank=1", "sampler.rank: the run itself knows it: leave it out"),
        ("sampler._target_=my_networks.ScaledHead", "it has to be a subclass of metriscope.data.samplers.BatchSampler"),
        ("scheduler.every=0", "scheduler.every=0: it has to be a whole number of at least 1"),
        ("+scheduler.evry=5", "scheduler.evry: halving takes no such argument; did you mean 'every'?"),
        ("augmentation.radius=-1", "augmentation.radius=-1: it has to be a number of at least 0"),
        ("+augmentation.pad=2", "augmentation.pad: Jitter takes no such argument"),
        ("+optimizer.momentum=0.5", "optimizer.momentum: Adam takes no such argument"),
        ("dataset.classes=many", "dataset.classes=many: it has to be a number"),
        (
            "loss._target_=my_objectives.PullTogether",
            "no module my_objectives; put the folder that holds it on",
        ),
        ("loss._target_=my_objective.PullTogther", "my_objective has no PullTogther; did you mean 'PullTogether'?"),
    ],
)
def test_wrong_values_are_one_line(own, words, monkeypatch, wrong, line):
    from metriscope.commands.train import check_command
    from metriscope.config.search_path import with_folder
    from metriscope.errors import InputError

    monkeypatch.syspath_prepend(own)
    own_words = [word for word in words if word not in ("--config-dir", "my_configs") and "=" in word]
    with pytest.raises(InputError) as caught:
        check_command(with_folder([*own_words, wrong], own / "my_configs"))
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)
