"""Several processes with unequal batches against one with all of it: same loss, same gradients, same memory."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from forks import on_ranks
from omegaconf import DictConfig
from tiny_runs import COMPOSER
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from metriscope.build.run import objective_of
from metriscope.config.objective import fitting_miners, shipped
from metriscope.config.plain import plain
from metriscope.objectives.samples import Moment, Spaces

pytestmark = pytest.mark.processes

LOSSES = shipped("loss")
MINERS = shipped("miner")

SHARES = {2: (7, 12), 4: (4, 6, 3, 6)}
"""Samples of each process; of the same batch."""
BATCH = 19
STEPS = 3
Case = tuple[str | int, ...]
CLASSES, INPUT, SIZE, NUMBER = 4, 6, 5, 12


@cache
def composed(loss: str, miner: str, memory: int, *words: str) -> DictConfig:
    return COMPOSER([f"loss={loss}", f"miner={miner}", f"memory.size={memory}", *words])


class Learner(nn.Module):
    def __init__(self, *case: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Linear(INPUT, SIZE)
        self.objective = objective_of(plain(composed(*case)), CLASSES, SIZE, num_samples=NUMBER)
        self.double()

    def forward(self, inputs: Tensor, labels: Tensor, index: Tensor, side: Tensor, step: int) -> Tensor:
        z = nn.functional.normalize(self.embed(inputs), dim=1)
        generator = torch.Generator().manual_seed(step)
        spaces = Spaces.of(z, labels, index, trunk=inputs, side=side)
        value: Tensor = self.objective(spaces, Moment(generator=generator)).output.value
        return value


def batch(step: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(100 + step)
    inputs = torch.randn(BATCH, INPUT, generator=generator, dtype=torch.float64)
    labels = torch.randint(CLASSES, (BATCH,), generator=generator)
    # Repeats among the samples, also across processes.
    index = torch.randint(NUMBER, (BATCH,), generator=generator)
    return inputs, labels, index, torch.randint(2, (BATCH,), generator=generator)


def run(learner: nn.Module, module: Learner, rows: slice) -> dict[str, Tensor]:
    optimizer = torch.optim.SGD(module.parameters(), lr=0.05)
    record: dict[str, Tensor] = {}
    for step in range(STEPS):
        columns = batch(step)
        optimizer.zero_grad()
        value = learner(*(column[rows] for column in columns), step)
        value.backward()
        record[f"value {step}"] = value.detach().clone()
        record |= {f"{name} {step}": p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}
        optimizer.step()
    record |= {name: buffer.clone() for name, buffer in module.named_buffers()}
    return record


LEARNED = ("supcon", "multi_similarity", 0, "loss.learn_temperature=true")
WEIGHED = [("infonce", "all", 0, f"weighting={name}") for name in shipped("weighting")]
SYNTHETIC: list[Case] = [
    ("infonce", "all", 30, "references=embedding_expansion"),
    ("triplet", "batch_hard", 0, "references=embedding_expansion", "miner.stand_ins=true"),
    ("supcon", "all", 0, "references=hard_pairs"),
]
_SYNTHESIS = "loss.synthesis={ratio: 0.5, alpha: 0.4}"
SYNTHESIS: list[Case] = [(loss, "none", 0, _SYNTHESIS) for loss in ("proxy_anchor", "arcface")]
MIXED = [("infonce", "all", 30, f"mixture={name}") for name in shipped("mixture")]
ACROSS: list[Case] = [
    ("triplet", "all", 30, "pairs_across=other"),
    ("infonce", "multi_similarity", 0, "pairs_across=other"),
    ("n_pair", "none", 0, "pairs_across=same"),
    ("sum", "all", 30, "pairs_across=other", "loss.losses=[{name: supcon},{name: contrastive, pairs_across: same}]"),
]
SUM = ("sum", "all", 30, "loss.losses=[{name: triplet},{name: multi_similarity}]")
OF_FOUR = [("triplet", "semihard", 0), ("sogclr", "all", 0), ("contrastive", "all", 30), LEARNED, SUM, *WEIGHED, *MIXED]


def cases() -> list[Case]:
    """Every loss with the first miner it takes; every miner with the first loss; some with a memory."""
    chosen = [(loss, fitting_miners(entry.accepts)[0], 0) for loss, entry in LOSSES.items()]
    for name, miner in MINERS.items():
        # A loss with a margin comes first: bands take theirs from it.
        fitting = [loss for loss in ("triplet", *LOSSES) if miner.kind in LOSSES[loss].accepts]
        chosen += [(loss, name, 0) for loss in fitting[:1]]
    further = [("triplet", "all", 30), ("contrastive", "all", 30), LEARNED, SUM, *WEIGHED, *SYNTHETIC]
    return [*dict.fromkeys(chosen), *further, *SYNTHESIS, *MIXED, *ACROSS]


def work(folder: Path, chosen: list[Case]) -> None:
    dist.init_process_group("gloo")
    rank, shares = dist.get_rank(), SHARES[dist.get_world_size()]
    start = sum(shares[:rank])
    records = {}
    for case in chosen:
        module = Learner(*case)
        learner = DistributedDataParallel(module, broadcast_buffers=False, find_unused_parameters=True)
        records[case] = run(learner, module, slice(start, start + shares[rank]))
    torch.save(list(records.values()), folder / f"{rank}.pt")
    dist.destroy_process_group()


def on_processes(count: int, chosen: list[Case], folder: Path) -> list[list[dict[str, Tensor]]]:
    for case in chosen:
        composed(*case)  # once for all processes
    on_ranks(lambda: work(folder, chosen), count=count)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(count)]


@pytest.fixture(scope="module")
def distributed(tmp_path_factory: pytest.TempPathFactory) -> list[list[dict[str, Tensor]]]:
    return on_processes(2, cases(), tmp_path_factory.mktemp("ranks"))


def agree(found: dict[str, Tensor], case: Case) -> None:
    module = Learner(*case)
    expected = run(module, module, slice(None))
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-6, atol=1e-9, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("number", range(len(cases())), ids=["-".join(map(str, case)) for case in cases()])
def test_two_processes_equal_one(number: int, distributed: list[list[dict[str, Tensor]]]) -> None:
    for records in distributed:
        agree(records[number], cases()[number])


def test_four_processes_equal_one(tmp_path: Path) -> None:
    for records in on_processes(4, OF_FOUR, tmp_path):
        for found, case in zip(records, OF_FOUR, strict=True):
            agree(found, case)
