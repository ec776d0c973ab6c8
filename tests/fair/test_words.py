"""What the words of a fair comparison ask for."""

import re

import pytest

from metriscope.errors import InputError
from metriscope.fair.words import read
from metriscope.run.fair import command


def test_words_are_fixed_searched_or_aside():
    asked = read([
        "dataset=digits", "losses=triplet/semihard,infonce", "trials=5", "folds=3", "repeats=2", "search=gp",
        "prune=null", "seed=7", "workers=1", "paths.data_dir=/data", "optimizer.lr=interval(1e-4,1e-2)",
        "infonce:loss.temperature=0.1", "infonce:optimizer.lr=interval(1e-3,1e-2)",
    ])  # fmt: skip
    assert asked.fixed == ("dataset=digits",)
    assert asked.aside == ("paths.data_dir=/data", "study=fair", "logger=files", "logger.figures=false")
    assert (asked.trials, asked.folds, asked.repeats, asked.seed, asked.workers) == (5, 3, 2, 7, 1)
    assert (asked.sampler, asked.prune) == ("gp", None)
    triplet, infonce = asked.entries
    assert (triplet.name, triplet.words) == ("triplet/semihard", ("loss=triplet", "miner=semihard"))
    assert triplet.ranges == {"optimizer.lr": "interval(1e-4,1e-2)"}
    assert infonce.words == ("loss=infonce", "loss.temperature=0.1")
    assert infonce.ranges == {"optimizer.lr": "interval(1e-3,1e-2)"}
    (contrastive,) = read(["losses=contrastive//dbpm"]).entries
    assert contrastive.words == ("loss=contrastive", "weighting=dbpm")
    (mixed,) = read(["losses=infonce///mochi"]).entries
    assert mixed.words == ("loss=infonce", "mixture=mochi")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["dataset=digits"], "give the losses to compare"),
        (["losses=triplet,triplet"], "triplet is named twice"),
        (["losses=triplet", "losses=infonce"], "losses is given twice"),
        (["losses=a b"], "cannot read 'a b'"),
        (["losses=triplet", "loss=infonce"], "the study sets loss itself; give all of them as losses="),
        (["losses=triplet", "dataset.fold=1"], "give the number of folds as folds="),
        (["losses=triplet", "folds=1"], "folds=1: it has to be a whole number of at least 2"),
        (["losses=triplet", "trials=x"], "trials=x: it has to be a whole number of at least 1"),
        (["losses=triplet", "search=random"], "it has to be one of tpe, gp"),
        (["losses=triplet", "models=some"], "models=some: it has to be one of all, folds"),
        (["losses=triplet", "untuned=yes"], "untuned=yes: it has to be true or false"),
        (["losses=triplet", "prune=2"], "prune=2: it has to be a share"),
        (["losses=triplet", "tripet:loss.margin=1"], "did you mean 'triplet'?"),
        (["losses=triplet", "dataset=digits,synthetic"], "one data set, trunk and so on is fixed for all"),
        (["losses=triplet", "hydra/launcher=joblib"], "give the number of processes as workers="),
        (["losses=triplet", "init=somewhere"], "the study sets init itself"),
        (["losses=triplet", "margin"], "cannot read 'margin'"),
    ],
)
def test_wrong_words_are_refused(words, said):
    with pytest.raises(InputError, match=re.escape(said)):
        read(words)


def test_a_definition_gives_its_command_again():
    words = "losses=triplet/semihard,infonce dataset=digits head.size=8 infonce:loss.temperature=0.2 trials=3 folds=2 "
    words += "repeats=4 seed=5 models=folds search=gp prune=null"
    asked = read(words.split())
    entries = [{"name": one.name, "words": list(one.words)} for one in asked.entries]
    numbers = {key: getattr(asked, key) for key in ("trials", "folds", "repeats", "seed", "models", "sampler", "prune")}
    found = command({"entries": entries, "fixed": list(asked.fixed), **numbers})
    assert found.startswith("metriscope fair losses=triplet/semihard,infonce dataset=digits head.size=8 infonce:loss")
    assert read(found.split()[2:]) == asked
