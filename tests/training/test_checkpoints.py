"""Checkpoints of earlier formats in the names of today."""

import pytest
import torch
from tiny_runs import COMPOSER

from metriscope.app import train
from metriscope.build.run import objective_of
from metriscope.config.plain import plain
from metriscope.errors import InputError
from metriscope.training.checkpoints import FORMAT, mark, upgrade


def state(*words):
    objective = objective_of(plain(COMPOSER(words)), 3, 4)
    return {f"objective.{key}": value for key, value in objective.state_dict().items()}


def earlier(today):
    """The same weights as format 0 wrote them."""
    found = {}
    for key, value in today.items():
        if key.endswith(".index"):
            continue
        key = key.replace("objective.references.0.", "objective.memory.")
        if ".references.0." in key:
            key = "objective.memory." + key.rpartition(".")[2]
        if key.startswith("objective.objectives."):
            _, _, place, _, rest = key.split(".", 4)
            key = f"objective.loss.losses.{place}.{rest}"
        found[key] = value
    return found


@pytest.mark.parametrize(
    "words",
    [
        ["memory=xbm", "memory.size=5"],
        ["loss=arcface", "miner=none"],
        ["loss=sum", "loss.losses=[{name: margin}, {name: arcface}]", "memory=xbm", "memory.size=5"],
    ],
    ids=" ".join,
)
def test_format_0_reads_in_the_names_of_today(words):
    wanted = state(*words)
    checkpoint = {"state_dict": earlier(wanted)}
    upgrade(checkpoint, wanted)
    found = checkpoint["state_dict"]
    assert found.keys() == wanted.keys()
    for key, value in wanted.items():
        assert torch.equal(found[key], torch.full_like(value, -1) if key.endswith(".index") else value)


def test_the_format_of_today_stays_as_it_is():
    checkpoint = {"state_dict": {"objective.memory.embeddings": torch.zeros(1)}}
    mark(checkpoint)
    upgrade(checkpoint, {})
    assert list(checkpoint["state_dict"]) == ["objective.memory.embeddings"]


def test_a_later_format_is_refused():
    with pytest.raises(InputError, match=f"format {FORMAT + 1}, and this version reads up to {FORMAT}: update"):
        upgrade({"metriscope": {"format": FORMAT + 1}, "state_dict": {}}, {})


def test_a_run_writes_its_format(tiny):
    outcome = train(tiny("trainer.max_epochs=1"))
    written = torch.load(outcome.folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert written["metriscope"] == {"format": FORMAT}
