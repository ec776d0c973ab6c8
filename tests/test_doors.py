"""A part of one's own for each door of the contract: trained, resumed after every step, on two processes, refused."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from forks import on_ranks
from interruptions import At, interrupt, same, traces
from omegaconf import OmegaConf
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from metriscope.app import train
from metriscope.build.run import objective_of
from metriscope.config.completing import complete
from metriscope.config.compose import compose_config
from metriscope.config.plain import plain
from metriscope.config.rules import check
from metriscope.errors import InputError
from metriscope.objectives.samples import Moment, Spaces

# A state of samples, rows weighed by their loss, synthetic references, a distance that learns, and the trunk's space.
PARTS = {
    "loss": {
        "name": "sum",
        "losses": [
            {"name": "remembering", "_target_": "toy_parts.Remembering", "weight": 1.0},
            {"name": "nca", "weight": 0.5, "distance": {"name": "stretched", "_target_": "toy_parts.Stretched"}},
            {"name": "infonce", "weight": 0.1, "space": "trunk", "miner": "multi_similarity"},
        ],
    },
    "references": {"name": "between", "_target_": "toy_parts.Between"},
    "weighting": {"name": "above_average", "_target_": "toy_parts.AboveAverage"},
}


def with_parts(cfg, parts=PARTS):
    OmegaConf.set_struct(cfg, False)
    for group, section in parts.items():
        cfg[group] = section
    return complete(cfg)


@pytest.fixture
def whole(tiny, tmp_path):
    def compose(**changes):
        cfg = with_parts(tiny("memory=xbm", "memory.size=30", "memory.warmup_steps=2"))
        cfg.paths.output_dir = str(tmp_path / "outputs")
        for key, value in changes.items():
            OmegaConf.update(cfg, key, value)
        return cfg

    return compose


def test_a_run_resumed_after_every_step_is_the_run(whole, watch):
    watch()
    outcome = train(whole())
    left = traces(outcome.folder)
    weights = left[1]["state_dict"]
    assert weights["objective.objectives.0.loss.state.cost"].unique().numel() > 2
    assert weights["objective.objectives.0.weighting.average"] != 0
    assert weights["objective.objectives.1.distance.logarithm"] != 0
    assert (weights["objective.objectives.0.references.0.index"] >= 0).all()
    shutil.rmtree(outcome.folder)
    for step in range(10):
        watch(At(interrupt(), step=step))
        with pytest.raises(KeyboardInterrupt):
            train(whole())
    watch()
    again = train(whole())
    assert json.loads((again.folder / "run.json").read_text())["resumed"] == 10
    same(traces(again.folder), left)


SHARES, CLASSES, INPUT, SIZE, NUMBER = (7, 12), 4, 6, 5, 40


class Learner(nn.Module):
    """Embeds by one layer and judges by the objectives above."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.trunk, self.head = nn.Linear(INPUT, 8), nn.Linear(8, SIZE)
        config = plain(with_parts(compose_config(["memory.size=30"])))
        self.objective = objective_of(config, CLASSES, SIZE, trunk_size=8, num_samples=NUMBER)
        self.double()

    def forward(self, inputs, labels, index, step):
        features = self.trunk(inputs)
        z = nn.functional.normalize(self.head(features), dim=1)
        moment = Moment(step=step, generator=torch.Generator().manual_seed(step))
        return self.objective(Spaces.of(z, labels, index, trunk=features), moment).output.value


def steps(learner, module, rows):
    """Values, and the state after three steps."""
    optimizer = torch.optim.SGD(module.parameters(), lr=0.05)
    record = {}
    for step in range(3):
        source = torch.Generator().manual_seed(100 + step)
        inputs = torch.randn(sum(SHARES), INPUT, generator=source, dtype=torch.float64)
        # Repeats among the samples, also across processes.
        labels = torch.randint(CLASSES, (sum(SHARES),), generator=source)
        index = torch.randint(12, (sum(SHARES),), generator=source)
        optimizer.zero_grad()
        value = learner(inputs[rows], labels[rows], index[rows], step)
        value.backward()
        optimizer.step()
        record[f"value {step}"] = value.detach().clone()
    return record | {name: value.clone() for name, value in module.state_dict().items()}


def work(folder: Path) -> None:
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    start = sum(SHARES[:rank])
    module = Learner()
    learner = DistributedDataParallel(module, broadcast_buffers=False, find_unused_parameters=True)
    torch.save(steps(learner, module, slice(start, start + SHARES[rank])), folder / f"{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_equal_one(tmp_path):
    on_ranks(lambda: work(tmp_path))
    module = Learner()
    expected = steps(module, module, slice(None))
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=1e-6, atol=1e-9, msg=lambda m, n=name: f"{n}: {m}")


def entry(**keys):
    return {"loss": {"name": "sum", "losses": [keys]}}


@pytest.mark.parametrize(
    ("given", "parts", "line"),
    [
        (
            ["loss=triplet"],
            {"weighting": PARTS["weighting"]},
            "weighting=above_average weighs rows, which loss=triplet cannot use: use one of ",
        ),
        (
            ["loss=fastap", "miner=none"],
            {"weighting": {"name": "evenly", "_target_": "toy_parts.Evenly"}},
            "weighting=evenly weighs pairs, which loss=fastap cannot use: use one of ",
        ),
        (
            ["loss=infonce"],
            {"weighting": {"name": "evenly", "_target_": "toy_parts.Evenly", "weight": "much"}},
            "weighting.weight=much: it has to be a number",
        ),
        (
            ["loss=infonce"],
            {"weighting": {"name": "wrong", "_target_": "toy_parts.Between"}},
            "weighting._target_=toy_parts.Between: it has to be a subclass of metriscope.objectives.weightings.base",
        ),
        (["loss=infonce"], {"references": {"name": "nearby"}}, "references=nearby has no _target_"),
        (
            ["loss=triplet", "head.normalize=false"],
            {"distance": {"name": "spherical", "_target_": "toy_parts.Spherical"}},
            "distance=spherical needs embeddings on the unit sphere: set head.normalize=true",
        ),
        (
            [],
            entry(name="triplet", space="trunk", distance={"name": "spherical", "_target_": "toy_parts.Spherical"}),
            "loss.losses[0].distance=spherical needs vectors on the unit sphere, which the trunk does not give",
        ),
        (
            [],
            entry(name="margin", space="trunk", miner="distance_weighted"),
            "loss.losses[0].miner=distance_weighted needs vectors on the unit sphere, which the trunk does not give",
        ),
        ([], entry(name="triplet", space="head"), "loss.losses[0].space=head: it has to be one of embedding, trunk"),
        (
            ["backbone.freeze=true"],
            entry(name="triplet", space="trunk"),
            "loss.losses[0].space=trunk: nothing of a frozen trunk learns; set backbone.freeze=false",
        ),
        (
            [],
            entry(name="triplet", miner="semhard"),
            "loss.losses[0].miner: no miner semhard; did you mean 'semihard'?",
        ),
        (
            [],
            entry(name="triplet", distance="cosin"),
            "loss.losses[0].distance: no distance cosin; did you mean 'cosine'?",
        ),
        (
            [],
            entry(name="contrastive", miner="semihard"),
            "loss.losses[0]=contrastive cannot take loss.losses[0].miner=semihard (it selects band)",
        ),
        (
            [],
            entry(name="triplet", miner={"name": "semihard", "high": "far"}),
            "loss.losses[0].miner.high=far: it has to be a number",
        ),
        (
            ["memory=xbm"],
            {"loss": {"name": "idle", "_target_": "toy_parts.Idle"}},
            "memory=xbm gives loss=idle nothing",
        ),
        (
            ["loss=arcface", "miner=none"],
            {"references": PARTS["references"]},
            "references=between gives loss=arcface nothing",
        ),
        (
            ["loss=proxy_nca", "miner=none", "references=hard_pairs"],
            {},
            "references=hard_pairs gives loss=proxy_nca nothing",
        ),
        (
            ["loss=triplet", "miner=batch_hard", "miner.stand_ins=true"],
            {},
            "miner.stand_ins=true: nothing stands for a sample; set references=embedding_expansion",
        ),
        (
            ["references=embedding_expansion"],
            entry(name="triplet", space="trunk"),
            "references=embedding_expansion makes samples of unit length, which the trunk has not: set references.",
        ),
        (
            ["references=embedding_expansion", "references.points=0"],
            {},
            "references.points=0: it has to be",
        ),
        (
            ["references=hard_pairs", "references.least_share=2"],
            {},
            "references.least_share=2: it has",
        ),
        (
            ["memory=xbm"],
            {"loss": {"name": "sum", "losses": [{"name": "idle", "_target_": "toy_parts.Idle"}, {"name": "arcface"}]}},
            "memory=xbm gives loss=sum nothing",
        ),
    ],
)
def test_what_does_not_fit_is_one_line(given, parts, line):
    cfg = with_parts(compose_config(given), parts)
    with pytest.raises(InputError) as caught:
        check(cfg)
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)
