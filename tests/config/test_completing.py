"""Configs that leave out what others say: sections of earlier versions, which name no class."""

import json

import pytest
from omegaconf import OmegaConf
from tiny_runs import COMPOSER, TINY

from metriscope.app import train
from metriscope.config.completing import complete, with_targets
from metriscope.config.compose import compose_config
from metriscope.config.files import choices
from metriscope.config.plain import plain
from metriscope.config.rules import check
from metriscope.errors import InputError
from metriscope.run.identity import identity

GROUPS = ("sampler", "scheduler", "augmentation")


def earlier(cfg):
    """The config as a version wrote it in which these sections named no class."""
    content = OmegaConf.to_container(cfg)
    for group in GROUPS:
        del content[group]["_target_"]
    return OmegaConf.create(content)


@pytest.mark.parametrize(("group", "choice"), [(group, choice) for group in GROUPS for choice in choices(group)])
def test_a_section_without_a_class_is_that_of_its_name(group, choice):
    cfg = COMPOSER([f"{group}={choice}"])
    assert check(earlier(cfg)) == check(cfg)
    assert identity(plain(earlier(cfg))) == identity(plain(cfg))


def test_an_augmentation_of_another_name_is_the_shipped_one():
    section = {"name": "mine", "crop": "pad", "pad": 8, "flip": False}
    found = with_targets({"augmentation": section, "seed": 0})
    assert found["augmentation"] == {**section, "_target_": "metriscope.data.inputs.augment.Augmentation"}


def test_a_name_that_there_is_none_of():
    with pytest.raises(InputError, match=r"^scheduler=cosin has no _target_, .*; did you mean 'cosine'\?$"):
        with_targets({"scheduler": {"name": "cosin"}})


def test_a_choice_of_ones_own_gets_what_others_read_and_no_argument(tmp_path):
    folder = tmp_path / "mine"
    for group, lines in (
        ("sampler", "_target_: own_parts.Drawn\nname: mine\n"),
        ("augmentation", "_target_: own_parts.Jitter\nname: mine\n"),
        ("optimizer", "_target_: torch.optim.Adagrad\nname: mine\nlr: 0.1\n"),
    ):
        (folder / group).mkdir(parents=True)
        (folder / group / "mine.yaml").write_text(f"# Mine.\n{lines}")
    cfg = compose_config(["sampler=mine", "augmentation=mine", "optimizer=mine", "dataset=synthetic"], folder)
    assert cfg.augmentation == {"_target_": "own_parts.Jitter", "name": "mine"}
    of_others = {"views", "labels"}
    assert cfg.sampler.keys() == {"_target_", "name", "batch_size"} | of_others, "the size is that of the data set"
    assert cfg.optimizer.layer_decay is None
    check(cfg)


def test_a_config_in_full_stays_as_it_is():
    entries = "[{name: triplet, miner: semihard}, {name: nca, weight: 0.5}, {name: margin, miner: curriculum}]"
    cfg = compose_config(["loss=sum", f"loss.losses={entries}"])
    before = OmegaConf.to_container(cfg)
    assert before["loss"]["losses"][0]["miner"]["high"] == "${loss.losses[0].margin}"
    assert OmegaConf.to_container(complete(cfg)) == before


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        ("{name: triplet, arguments: 3}", r"\.arguments=3: it has to be a mapping of arguments to values$"),
        ("{name: triplet, arguments: {weight: 2}}", r"\.arguments\.weight: it is no argument; put it beside the name$"),
        (
            "{name: triplet, margin: 1, arguments: {margin: 2}}",
            r"\.arguments\.margin: it stands beside the name as well",
        ),
        ("{name: triplet, miner: {name: hdc, arguments: [1]}}", r"\.miner\.arguments=\[1\]: it has to be a mapping"),
        ("{}", r"\.name=null: it has to be the name of a loss$"),
        ("{_target_: metriscope.losses.TripletLoss}", r"\.name=null: it has to be the name of a loss$"),
        ("{name: [triplet]}", r"\.name=\['triplet'\]: it has to be the name of a loss$"),
        ("{name: sum, losses: [{name: triplet}]}", r": a sum holds no further sum; list its losses with the others$"),
    ],
)
def test_an_entry_that_is_none(entry, line):
    with pytest.raises(InputError, match=r"^loss\.losses\[0\]" + line):
        check(compose_config(["loss=sum", f"loss.losses=[{entry}]"]))


def test_a_run_that_an_earlier_version_has_finished_is_the_same(tmp_path):
    words = [*TINY, "scheduler=cosine", "sampler=shuffle", "trainer.max_epochs=1", f"paths.output_dir={tmp_path}"]
    first = train(COMPOSER(words))
    path = first.folder / "config.yaml"
    before = earlier(OmegaConf.load(path))
    path.write_text(OmegaConf.to_yaml(before))
    for again in (train(before), train(COMPOSER(words))):
        assert not again.trained
        assert (again.folder, again.metrics) == (first.folder, first.metrics)
        assert len(again.data.train_batch_sampler) == 5
    record = json.loads((first.folder / "run.json").read_text())
    (first.folder / "run.json").write_text(json.dumps(record | {"status": "interrupted"}))
    assert train(before).folder == first.folder
