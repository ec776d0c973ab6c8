import pytest

from metriscope.config.compose import compose_config
from metriscope.config.files import SEARCHED, choices, section, space
from metriscope.errors import InputError
from metriscope.sweeps.space import distributions, of_parts, split_space

pytest.importorskip("optuna")


def test_the_space_in_words():
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    assert distributions(
        {
            "a": "a=tag(log,interval(1e-5,1e-2))",
            "b": "b=int(interval(1,8))",
            "c": "c=x,y",
            "d": "d=range(0,10,5)",
            "e": "e=[1,2],[3]",
        }
    ) == {
        "a": FloatDistribution(1e-5, 1e-2, log=True),
        "b": IntDistribution(1, 8),
        "c": CategoricalDistribution(["x", "y"]),
        "d": IntDistribution(0, 5, step=5),
        "e": CategoricalDistribution(["[1,2]", "[3]"]),
    }


@pytest.mark.parametrize("word", ["a=interval(2,1)", "a=tag(log,interval(0,1))"])
def test_intervals_that_are_none(word):
    with pytest.raises(InputError, match="an interval needs"):
        distributions({"a": word})


def test_the_command_line_outranks_the_space_of_the_config():
    fixed, varied = split_space(["seed=1", "b=1,2", "c=3"], ["a=interval(0,1)", "b=interval(0,1)", "c=4,5"])
    assert fixed == ("seed=1", "c=3")
    assert varied == {"a": "a=interval(0,1)", "b": "b=1,2"}
    with pytest.raises(InputError, match="nothing to search"):
        distributions({})


def test_a_glob_sees_further_folders(tmp_path):
    from optuna.distributions import CategoricalDistribution

    (tmp_path / "loss").mkdir()
    (tmp_path / "loss" / "triplet_mine.yaml").write_text("name: triplet_mine\n")
    found = distributions({"loss": "loss=glob(triplet*)"}, [tmp_path])
    assert found == {"loss": CategoricalDistribution(["triplet", "triplet_mine"])}


@pytest.mark.parametrize(("group", "name"), [(group, name) for group in SEARCHED for name in choices(group)])
def test_shipped_parts_say_what_to_search(group, name):
    """Each range holds the default, so that no search begins beside the known value."""
    ranges = space(group, name)
    if name in ("sum", "pml"):  # their keys are those of others
        assert ranges is None
        return
    keys = section(group, name)
    found = distributions({key: f"{key}={value}" for key, value in ranges.items()}) if ranges else {}
    for key, one in found.items():
        assert one._contains(one.to_internal_repr(keys[key])), key
        assert type(one.low) is type(keys[key]), key


def test_the_space_of_parts():
    choice = {"loss": "contrastive", "miner": "hdc", "weighting": "none"}
    assert of_parts(choice) == [
        "loss.margin=interval(0.2,1.8)",
        "loss.positive_margin=interval(0.0,0.6)",
        "miner.share=interval(0.1,1.0)",
    ]
    with pytest.raises(InputError, match=r"loss=pml does not say what to search: add _search_ to its file, or give"):
        of_parts({**choice, "loss": "pml"})


def test_a_space_is_in_no_config_and_set_in_files_alone():
    assert "_search_" not in compose_config(["loss=contrastive"]).loss
    with pytest.raises(InputError, match="ranges of a part stand in its file"):
        compose_config(["loss._search_.margin=1"])
