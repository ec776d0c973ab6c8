"""Keys by their earlier names: on the command line, in files, in sweeps and in run folders."""

from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from tiny_runs import COMPOSER, TINY

from metriscope.commands.train import main
from metriscope.config.aliases import ALIASES, tell, today, translated
from metriscope.config.completing import in_words_of_today
from metriscope.config.compose import compose_config
from metriscope.config.plain import flatten, plain
from metriscope.config.rules import check
from metriscope.config.words import forced, parse, renamed
from metriscope.errors import InputError
from metriscope.run.identity import identity

CLUSTERING = "metriscope.evaluation.shipped.Clustering"
# What shipped configs said of the sections before their keys moved.
EARLIER: dict[str, dict[str, Any]] = {
    "evaluation": {
        "name": "default",
        "recall_at": [1, 2, 4, 8],
        "precision_at": [1],
        "mrr": True,
        "knn_k": 10,
        "linear_probe": True,
        "clustering": False,
        "metrics": {},
    },
    "diagnostics": {
        "name": "default",
        "greediness": True,
        "variance": True,
        "pair_weight_threshold": 1.0e-3,
        "own": {},
    },
}


@pytest.fixture(autouse=True)
def untold() -> None:
    tell.cache_clear()


@pytest.mark.parametrize(
    ("word", "key", "value"),
    [
        ("evaluation.recall_at=[1,10]", "evaluation.metrics.recall_at.k", [1, 10]),
        ("evaluation.precision_at=[3]", "evaluation.metrics.precision_at.k", [3]),
        ("evaluation.mrr=false", "evaluation.metrics.mrr", None),
        ("evaluation.knn_k=5", "evaluation.metrics.knn_accuracy.k", 5),
        ("evaluation.linear_probe=false", "evaluation.metrics.linear_probe_accuracy", None),
        ("evaluation.clustering=true", "evaluation.metrics.clustering._target_", CLUSTERING),
        ("diagnostics.pair_weight_threshold=0.5", "diagnostics.greediness.pair_weight_threshold", 0.5),
        ("diagnostics.greediness=false", "diagnostics.greediness", None),
        ("+diagnostics.own.mine={_target_:my.Own}", "diagnostics.mine._target_", "my.Own"),
    ],
)
def test_an_earlier_word_says_what_its_key_says_today(word: str, key: str, value: object, capsys: Any) -> None:
    for compose in (compose_config, COMPOSER):
        found, before = (flatten(plain(compose(words))) for words in ([word], []))
        assert found[key] == value
        changed = {name for name in found.keys() | before.keys() if found.get(name) != before.get(name)}
        assert all(f"{name}.".startswith(f"{key.removesuffix('._target_')}.") for name in changed), changed
    old = word.lstrip("+").partition("=")[0]
    said = capsys.readouterr().err.splitlines()
    # Once, however often it is composed; a switch that keeps its name is nothing to tell.
    assert [old.startswith(line.split()[1]) for line in said] == ([] if old == "diagnostics.greediness" else [True])


def test_words_in_names_of_today() -> None:
    words = ["seed=1", "evaluation.recall_at=[1],[2]", "+diagnostics.own.x.size=1"]
    assert renamed(words) == ["seed=1", "evaluation.metrics.recall_at.k=[1],[2]", "+diagnostics.x.size=1"]
    assert forced(words) == ["seed=1", "++evaluation.recall_at=[1],[2]", "++diagnostics.own.x.size=1"]
    assert parse(forced(words)[1]).is_sweep_override()
    assert today("diagnostics.own.x") == "diagnostics.x"
    assert today("evaluation.recall_at.k") is None


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["evaluation.recall_at=[1]", "evaluation.metrics.recall_at.k=[1]"],
            "evaluation.recall_at and evaluation.metrics.recall_at.k are one and the same: leave out ",
        ),
        (
            ["evaluation.linear_probe=false", "evaluation.metrics.linear_probe_accuracy.max_iterations=9"],
            "evaluation.linear_probe and evaluation.metrics.linear_probe_accuracy.max_iterations are one and the same",
        ),
        (["evaluation.recall_at=[0]"], "evaluation.metrics.recall_at.k=[0]: it has to be a list of"),
        (["evaluation.mrr=often"], "evaluation.metrics.mrr=often: it has to be one of true, false"),
        (["evaluation.recal_at=[1]"], "evaluation.recal_at: no such key"),
    ],
)
def test_what_cannot_be_is_one_line(words: list[str], line: str) -> None:
    for compose in (compose_config, COMPOSER):
        with pytest.raises(InputError) as refused:
            check(compose(words))
        assert str(refused.value).startswith(line)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Files that were written before the keys moved."""
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "deep.yaml").write_text(
        "# @package _global_\n# Deep.\nevaluation: {recall_at: [1, 100], mrr: false}\n"
        "diagnostics: {own: {mine: {_target_: my.Own}}}\n"
    )
    (tmp_path / "evaluation").mkdir()
    lines = [f"{key}: {str(value).lower()}" for key, value in EARLIER["evaluation"].items() if key != "name"]
    lines += ["batch_size: 512", "layers: [embedding]", "monitor: val/map_at_r", "mode: null", "every_n_epochs: 1"]
    lines += ["memory_mb: 256", "classification: auto", "per_class: false", "save_embeddings: false", "name: whole"]
    (tmp_path / "evaluation" / "whole.yaml").write_text("\n".join(["# All of it.", *lines]))
    (tmp_path / "diagnostics").mkdir()
    (tmp_path / "diagnostics" / "some.yaml").write_text(
        "# Some.\nname: some\ngreediness: true\nvariance: false\npair_weight_threshold: 0.25\nown: {}\n"
    )
    return tmp_path


def test_files_are_read_in_words_of_today(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cfg = compose_config(["experiment=deep"], own)
    assert cfg.evaluation.metrics.recall_at.k == [1, 100]
    assert cfg.evaluation.metrics.mrr is None
    assert cfg.diagnostics.mine._target_ == "my.Own"
    assert "recall_at" not in cfg.evaluation
    assert capsys.readouterr().err.splitlines()[0] == (
        "metriscope: evaluation.recall_at is now evaluation.metrics.recall_at.k; "
        "the earlier name goes with the next release"
    )
    # The command line wins, under either name.
    assert compose_config(["experiment=deep", "evaluation.recall_at=[7]"], own).evaluation.metrics.recall_at.k == [7]
    new = compose_config(["experiment=deep", "evaluation.metrics.recall_at.k=[7]"], own)
    assert new.evaluation.metrics.recall_at.k == [7]


@pytest.mark.parametrize("compose", [compose_config, COMPOSER], ids=["alone", "among many"])
@pytest.mark.parametrize(
    ("word", "key", "value"),
    [
        ("evaluation.metrics.recall_at.k=[5]", "evaluation.metrics.recall_at.k", [5]),
        # What is the default is said as well.
        ("evaluation.metrics.recall_at.k=[1,2,4,8]", "evaluation.metrics.recall_at.k", [1, 2, 4, 8]),
        ("evaluation.metrics.recall_at=false", "evaluation.metrics.recall_at", None),
        ("evaluation.metrics.mrr=true", "evaluation.metrics.mrr._target_", "metriscope.evaluation.shipped.MRR"),
        ("evaluation.metrics=null", "evaluation.metrics", None),
        ("evaluation.recall_at=[5]", "evaluation.metrics.recall_at.k", [5]),
    ],
)
def test_the_command_line_wins_over_a_file(own: Path, compose: Any, word: str, key: str, value: object) -> None:
    cfg = compose(["experiment=deep", word, f"hydra.searchpath=[{own}]"])
    assert OmegaConf.select(cfg, key) == value


def test_one_file_with_both_names_is_refused(own: Path) -> None:
    (own / "experiment" / "both.yaml").write_text(
        "# @package _global_\n# Both.\nevaluation: {recall_at: [1], metrics: {recall_at: {k: [3]}}}\n"
    )
    with pytest.raises(InputError, match=r"^evaluation\.recall_at and evaluation\.metrics\.recall_at\.k .*both are"):
        compose_config(["experiment=both"], own)


def test_an_earlier_word_wins_over_a_file(own: Path) -> None:
    (own / "experiment" / "new.yaml").write_text(
        "# @package _global_\n# New.\nevaluation: {metrics: {recall_at: {k: [3]}}}\n"
    )
    cfg = compose_config(["experiment=new", "evaluation.recall_at=[5]"], own)
    assert cfg.evaluation.metrics.recall_at.k == [5]


def test_a_whole_file_of_before_is_the_same_run(own: Path) -> None:
    given = compose_config(["evaluation=whole", "diagnostics=some"], own)
    assert check(given)["evaluation"]["metrics"] == plain(COMPOSER([]))["evaluation"]["metrics"]
    assert plain(given)["diagnostics"] == {
        "name": "some",
        "greediness": {
            "_target_": "metriscope.callbacks.greediness.GreedinessMonitor",
            "pair_weight_threshold": 0.25,
            "negative_spread": None,
            "batch_hardness": None,
            "prototype_usage": None,
        },
        "variance": None,
    }


def test_a_config_that_was_stored_is_the_same_run() -> None:
    config = plain(COMPOSER([]))
    stored = {**config, "diagnostics": EARLIER["diagnostics"]}
    stored["evaluation"] = {**config["evaluation"], **EARLIER["evaluation"]}
    found, used = in_words_of_today(stored)
    assert found == config
    assert used == list(ALIASES)
    assert identity(stored) == identity(config)


def test_a_threshold_of_what_is_off_says_nothing() -> None:
    given = {"diagnostics": {"greediness": None, "pair_weight_threshold": 0.5}}
    assert translated(given)[0] == {"diagnostics": {"greediness": None}}
    words = ["diagnostics=none", "diagnostics.greediness=true", "diagnostics.pair_weight_threshold=0.5"]
    assert compose_config(words).diagnostics.greediness.pair_weight_threshold == 0.5


def test_a_composed_config_is_shown_in_words_of_today(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluation.recall_at=[1,10]", "--cfg", "job", "--package", "evaluation.metrics.recall_at.k"]) == 0
    assert "- 10" in capsys.readouterr().out


def test_a_sweep_over_an_earlier_key(short_launch: None, tmp_path: Path) -> None:
    from metriscope.sweeps.plan import base_config, plan
    from metriscope.sweeps.sweep import sweep

    words = [word for word in TINY if not word.startswith("evaluation.metrics")]
    words += ["trainer.max_epochs=1", "evaluation.recall_at=[1],[3]", f"paths.output_dir={tmp_path}"]
    assert sweep(words, base_config(words))
    summaries = [(job.folder / "summary.json").read_text() for job in plan(words, base_config(words)).jobs]
    assert ["test/recall_at_3" in text for text in summaries] == [False, True]


@pytest.mark.parametrize("other", ["evaluation.metrics.recall_at=false", "evaluation.metrics=null"])
def test_an_earlier_key_of_what_is_switched_off_is_refused(other: str) -> None:
    with pytest.raises(InputError, match=r"^evaluation\.recall_at and evaluation\.metrics.* are one and the same"):
        compose_config(["evaluation.recall_at=[1]", other])


def test_diagnostics_of_ones_own_as_a_whole() -> None:
    words = ["+diagnostics.own={mine:{_target_:my.Own}}", "diagnostics.variance=false"]
    found = plain(compose_config(words))["diagnostics"]
    assert (found["mine"], found["variance"]) == ({"_target_": "my.Own"}, None)
