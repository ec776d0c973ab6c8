import pytest

from metriscope.errors import InputError
from metriscope.sweeps.space import distributions, split_space

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
