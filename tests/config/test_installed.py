"""Choices that an installed package brings: used, listed and swept without a word on the command line."""

import re
from functools import partial
from pathlib import Path

import own_command
import pytest
from tiny_runs import TINY

from metriscope.commands.train import check_command
from metriscope.config.compose import compose_config
from metriscope.config.installed import folder_in_package, installed
from metriscope.errors import InputError

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "extending.md").read_text(encoding="utf-8")
LOSS = '''
from typing import Annotated

from metriscope.losses import Loss, LossOutput
from pydantic import Field


class PullTogether(Loss):
    """Mean distance of positives."""

    accepts = frozenset({"all"})
    hinge = False

    def __init__(self, weight: Annotated[float, Field(gt=0)] = 1.0) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, comparison, selection):
        terms = comparison.positive.sum()
        value = self.weight * (comparison.distances * comparison.positive).sum() / terms.clamp_min(1)
        return LossOutput(value, active=terms, terms=terms, parts={})
'''
PULL = "# Pulls positives together.\n_target_: my_package.losses.PullTogether\nname: pull\nweight: 2.0\n"


def install(site, package, configs, entry=None, init=""):
    """What pip leaves of a package that brings configs: its files, its metadata and its entry point."""
    (site / package).mkdir(parents=True)
    (site / package / "__init__.py").write_text(init)
    for name, text in configs.items():
        path = site / package / "configs" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    about = site / f"{package}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package.replace('_', '-')}\nVersion: 1.0\n")
    target = entry or f"{package}.configs"
    (about / "entry_points.txt").write_text(f"[metriscope.configs]\nmine = {target}\n")


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    site = tmp_path_factory.mktemp("site")
    install(site, "my_package", {"loss/pull": PULL})
    (site / "my_package" / "losses.py").write_text(LOSS)
    return site


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.fixture
def metriscope(mine, tmp_path):
    return partial(own_command.metriscope, mine, tmp_path)


def test_the_page_declares_it_as_this_test_does(mine):
    (declared,) = re.findall(r'\[project\.entry-points\."metriscope\.configs"\]\n(\w+ = )"([\w.]+)"', PAGE)
    assert f"[metriscope.configs]\n{''.join(declared)}\n" == next(mine.glob("*.dist-info/entry_points.txt")).read_text()


@pytest.mark.processes
def test_it_is_swept_by_joblib_and_compared(metriscope):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    short = (*TINY, "trainer.max_epochs=1", "loss=pull", "seed=0,1")
    done = metriscope("train", "-m", *short, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 runs: 2 finished" in done.stdout
    again = metriscope("train", "-m", *short)
    assert again.stdout.splitlines()[-1].endswith("2 runs: 2 finished"), again.stdout + again.stderr
    single = metriscope("train", *TINY, "trainer.max_epochs=1", "loss=pull", "seed=1")
    assert "finished before" in single.stdout, single.stderr
    compared = metriscope("compare", "outputs/default", "--metrics", "test/recall_at_1", "--format", "csv")
    assert "2 finished runs in 1 group" in compared.stdout, compared.stderr
    assert "pull" in compared.stdout


@pytest.mark.processes
def test_help_and_config_show_it(metriscope):
    shown = metriscope("train", "--help").stdout
    assert "pull                   Pulls positives together." in shown
    assert re.search(r"^loss: .*proxy_nca, pull, ranked_list", shown, flags=re.MULTILINE)
    assert "_target_: my_package.losses.PullTogether" in metriscope("train", "loss=pull", "--cfg", "job").stdout


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["loss=pull", "loss.weight=-1"], "loss.weight=-1: it has to be a number above 0"),
        (["loss=pull", "miner=semihard"], "loss=pull cannot take miner=semihard (it selects band)"),
        (["loss=pul"], "loss=pul: no such choice; did you mean 'pull'?"),
        (["loss=pull", "loss.wieght=1"], "loss.wieght: no such key; did you mean 'loss.weight'?"),
        (["loss=sum", "loss.losses=[{name: pull, weight: 1}, {name: triplet, margin: x}]"], "loss.losses[1].margin=x"),
    ],
)
def test_wrong_words_are_one_line(mine, monkeypatch, words, line):
    monkeypatch.syspath_prepend(mine)
    with pytest.raises(InputError) as caught:
        check_command(words)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_globs_and_sums_know_it(mine, monkeypatch):
    monkeypatch.syspath_prepend(mine)
    check_command(["loss=glob(pul*)", "seed=0,1"], multirun=True)
    check_command(["loss=sum", "loss.losses=[{name: pull, weight: 1}, {name: contrastive}]"])


def test_a_package_is_not_imported_for_its_configs(site):
    own = "defaults: [triplet]\nname: mine\nmargin: 0.7\n"
    install(site, "heavy", {"loss/mine": own}, init="raise RuntimeError('imported for its configs')\n")
    assert compose_config(["loss=mine"]).loss.margin == 0.7


def test_folders_need_no_init_and_lie_in_any_part_of_a_namespace(site, monkeypatch):
    (site / "one" / "shared").mkdir(parents=True)
    (site / "two" / "shared" / "configs" / "loss").mkdir(parents=True)
    monkeypatch.syspath_prepend(site / "one")
    monkeypatch.syspath_prepend(site / "two")
    assert folder_in_package("shared.configs.loss") == site / "two" / "shared" / "configs" / "loss"
    assert folder_in_package("shared.nothing") is None


def test_a_choice_that_is_in_two_places_is_refused(site):
    install(site, "copy_cat", {"loss/triplet": "name: triplet\n", "loss/mine": "defaults: [nca]\nname: mine\n"})
    assert compose_config(["loss=mine"]).loss.name == "mine"
    with pytest.raises(
        InputError, match=r"^loss=triplet is in two places, .*configs/loss/triplet\.yaml and .*copy_cat"
    ):
        compose_config(["loss=triplet"])
    with pytest.raises(InputError, match="loss=triplet is in two places"):
        compose_config(["loss=sum", "loss.losses=[{name: triplet}]"])
    own = site / "own"
    (own / "loss").mkdir(parents=True)
    (own / "loss" / "mine.yaml").write_text("defaults: [triplet]\nname: mine\n")
    with pytest.raises(InputError, match=r"^loss=mine is in two places, .*own/loss/mine\.yaml and .*copy_cat"):
        compose_config(["loss=mine"], own)


@pytest.mark.parametrize(
    ("entry", "lacks"),
    [("broken.parts", "broken has no folder parts"), ("no_such.configs", "there is no package no_such")],
)
def test_a_broken_entry_point_stops_only_who_misses_its_choices(site, entry, lacks):
    install(site, "broken", {}, entry)
    assert compose_config(["loss=triplet"]).loss.name == "triplet"
    assert installed().folders == ()
    with pytest.raises(InputError, match="the package broken adds no choices: ") as caught:
        compose_config(["loss=pull"])
    assert f"{lacks} (entry point metriscope.configs: mine = {entry})" in str(caught.value)
    assert "\n" not in str(caught.value)
