"""Folders of further choices, by flag and by word."""

from pathlib import Path

import pytest

from metriscope.config.compose import compose_config
from metriscope.config.search_path import folders, with_folder
from metriscope.errors import InputError


@pytest.fixture
def own(tmp_path):
    """A folder whose name needs quotes, with one loss in it."""
    folder = tmp_path / "it's mine, [all] of it"
    (folder / "loss").mkdir(parents=True)
    (folder / "loss" / "mine.yaml").write_text("# Mine.\ndefaults: [triplet]\nname: mine\nmargin: 0.7\n")
    return folder


def test_words_without_a_folder_stay_as_they_are():
    words = ["loss=triplet", "seed=1"]
    assert with_folder(words, None) == words
    assert folders(words) == []


def test_flag_and_word_are_one(own, tmp_path, monkeypatch):
    (tmp_path / "more").mkdir()
    monkeypatch.chdir(tmp_path)
    words = with_folder(["loss=mine", "hydra.searchpath=[more,file://more]"], own.relative_to(tmp_path))
    assert words[0] == "loss=mine"
    assert len(words) == 2
    assert folders(words) == [own, tmp_path / "more", tmp_path / "more"]
    assert with_folder(words, None) == words
    assert compose_config(words).loss.margin == 0.7


def test_configs_in_a_package(own, tmp_path, monkeypatch):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "__init__.py").write_text("")
    own.rename(tmp_path / "theirs" / "configs")
    monkeypatch.syspath_prepend(tmp_path)
    words = with_folder(["hydra.searchpath=[pkg://theirs.configs]", "loss=mine"], None)
    assert folders(words) == [tmp_path / "theirs" / "configs"]
    assert compose_config(words).loss.margin == 0.7


@pytest.mark.parametrize(
    ("words", "folder", "said"),
    [
        ([], "nowhere", "--config-dir=nowhere: no such folder of configs"),
        (["hydra.searchpath=[nowhere]"], None, "hydra.searchpath=nowhere: no such folder of configs"),
        (["hydra.searchpath=[pkg://no_such.configs]"], None, "hydra.searchpath=pkg://no_such.configs: no such folder"),
        (["hydra.searchpath=nowhere"], None, "it has to be a list of folders"),
    ],
)
def test_folders_that_are_not_there(words, folder, said):
    with pytest.raises(InputError) as caught:
        with_folder(words, folder)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_choices_of_a_folder_are_offered(own):
    with pytest.raises(InputError, match="did you mean 'mine'"):
        compose_config(["loss=mime"], own)
    with pytest.raises(InputError, match=r"did you mean 'loss\.margin'"):
        compose_config(["loss=mine", "loss.margn=1"], Path(own))
