import pytest
from omegaconf import OmegaConf, open_dict

from metriscope.config.compose import compose_config
from metriscope.config.rules import check_keys
from metriscope.errors import InputError


@pytest.mark.parametrize(
    ("key", "value", "name"),
    [
        ("tags", ["a", "${oc.env:MY_SECRET}"], "MY_SECRET"),
        ("study", "${oc.env:WANDB_API_KEY}", "WANDB_API_KEY"),
        ("study", "a-${oc.env:github_token,none}", "github_token"),
        ("paths.data_dir", "${oc.decode:${oc.env: 'DB_PASSWORD'}}", "DB_PASSWORD"),
        ("dataset.path", {"${oc.env:A}": {"b": ["${oc.env:APIKEY}"]}}, "APIKEY"),
    ],
)
def test_a_secret_of_the_environment_is_refused_before_it_is_read(key: str, value: object, name: str) -> None:
    cfg = compose_config([])
    with open_dict(cfg):
        OmegaConf.update(cfg, key, value)
    with pytest.raises(InputError, match=f"the variable {name} would be written to config.yaml") as refused:
        check_keys(cfg)
    assert "\n" not in str(refused.value)


def test_other_variables_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRATCH", "there")
    assert check_keys(compose_config(["paths.data_dir=${oc.env:SCRATCH}/data"]))["paths"]["data_dir"] == "there/data"


@pytest.mark.parametrize("key", ["study", "loss.name", "backbone.name", "optimizer.name"])
@pytest.mark.parametrize("character", ["\x1b", "\n", "\x7f", "\udce9", "\u202e"])
def test_control_characters_are_refused_in_names(key: str, character: str) -> None:
    cfg = compose_config([])
    group, _, name = key.rpartition(".")
    (cfg[group] if group else cfg)[name] = f"a{character}b"
    with pytest.raises(InputError, match=f"{key}=a.b: a name cannot hold control characters"):
        check_keys(cfg)
