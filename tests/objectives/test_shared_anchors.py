"""Ranks that share the anchors of a gathered batch, simulated in one process: each finds what one process finds."""

from functools import cache

import pytest
import torch
from benchmarks.ranks import simulated
from combinations import every
from row_rules import CASES, B, agree, batch_and_memory, counted, facts, run
from tiny_runs import COMPOSER

from metriscope.build.run import objective_of
from metriscope.config.objective import fitting_miners, shipped
from metriscope.config.plain import plain
from metriscope.diagnostics.activity import pair_activity, pulls_of_slopes
from metriscope.objectives.distributed import Ranks
from metriscope.objectives.kernels.rows import over_rows
from metriscope.objectives.samples import Moment, Spaces
from metriscope.objectives.selection import TripletBand

LOSSES, MINERS = shipped("loss"), shipped("miner")
CLASSES, SIZE, NUMBER = 5, 6, 50


def by_loss(losses, index):
    return losses.square() + 1


@every(case=CASES, distance=("euclidean", "cosine"), weigh=(None, by_loss))
def test_the_engine_finds_on_each_rank_what_it_finds_alone(case, distance, weigh):
    scales = [torch.ones(())] * case.rule.sums

    def on_rank(ranks=None):
        own, sizes = counted(case)
        comparison, leaves = batch_and_memory(distance, weigh=weigh)
        comparison.ranks = ranks
        found = over_rows(comparison, TripletBand(), own.rule, own.inputs)
        judged_here = sum(sizes)
        slopes = found.slopes(scales, slice(1, 5)).slopes
        return facts(found, [*leaves, *case.leaves]) | {"slopes": slopes}, judged_here

    wanted, _ = on_rank()
    results = simulated(3, on_rank)
    assert [count for _, count in results] == [3, 3, 4], "each anchor is judged once"
    for found, _ in results:
        agree(found, wanted)


@every(case=CASES)
def test_ranks_that_share_a_batch_without_a_memory(case):
    """Anchors and references are one tensor, so that gradients of both go into one."""
    case = case.beside(B)
    whole, leaves = batch_and_memory(memory=False)
    wanted = run(case, whole, [*leaves, *case.leaves])

    def on_rank(ranks):
        comparison, leaves = batch_and_memory(memory=False)
        comparison.ranks = ranks
        return run(case, comparison, [*leaves, *case.leaves])

    for found in simulated(B, on_rank):
        agree(found, wanted)


def test_a_batch_of_fewer_anchors_than_ranks_is_judged_as_a_whole():
    def unused(tensor):
        raise AssertionError

    whole, leaves = batch_and_memory()
    comparison, others = batch_and_memory()
    case = CASES["everything, plain"]
    comparison.ranks = Ranks(0, B + 1, unused)
    found = run(case, comparison, [*others, *case.leaves])
    for name, value in run(case, whole, [*leaves, *case.leaves]).items():
        assert torch.equal(found[name], value), name


@cache
def composed(words: str):
    return plain(COMPOSER(words.split()))


def judged(words: str, size: int, ranks: Ranks | None = None):
    """What an objective says of a batch and learns from it, its gradients, and what diagnostics say of its pairs."""
    torch.manual_seed(0)
    objective = objective_of(composed(words), CLASSES, SIZE, num_samples=NUMBER).double()
    source = torch.Generator().manual_seed(size)
    raw = torch.randn(size, SIZE, generator=source, dtype=torch.float64)
    z = torch.nn.functional.normalize(raw, dim=1).requires_grad_()
    labels = torch.randint(CLASSES, (size,), generator=source)
    batch = Spaces.of(z, labels, torch.randint(NUMBER, (size,), generator=source), trunk=raw)
    moment = Moment(8, generator=torch.Generator().manual_seed(1))
    samples = batch.samples(objective.space, objective.affinity)
    comparison = objective.compare(samples, moment, ranks)
    with torch.enable_grad():
        account = objective.judge(comparison, objective.select(comparison))
    parameters = [p for p in objective.parameters() if p.requires_grad]
    output = account.output
    slopes = torch.autograd.grad(output.value, [z, *parameters], allow_unused=True)
    numbers = ("value", "active", "terms", "rows", "counts", "pending")
    found = {name: getattr(output, name) for name in numbers if getattr(output, name) is not None}
    found |= output.parts | {f"gradient {k}": slope for k, slope in enumerate(slopes) if slope is not None}
    if output.slopes is not None:
        pulls = [pulls_of_slopes(account.comparison, output.slopes)]
        activity = pair_activity(account.comparison, pulls, objective.hinge, 1e-3)
        found |= activity._asdict()
    for part in objective.learners():
        part.observe(account, moment)
    return {name: value.detach() for name, value in (found | dict(objective.named_buffers())).items()}


def words_of_losses():
    """Every loss with the first miner that it takes, every miner with the first loss, weightings and reductions."""
    found = [f"loss={name} miner={fitting_miners(part.accepts)[0]}" for name, part in LOSSES.items()]
    for name, miner in MINERS.items():
        loss = next(loss for loss in ("triplet", *LOSSES) if miner.kind in LOSSES[loss].accepts)
        found.append(f"loss={loss} miner={name}")
    found += [f"loss=infonce miner=all weighting={name}" for name in shipped("weighting")]
    found += [
        f"loss={loss} miner=all mixture={name}" for name in shipped("mixture") for loss in ("infonce", "contrastive")
    ]
    found += [
        "loss=contrastive miner=all loss.reduction=mean_active",
        "loss=supcon miner=all loss.learn_temperature=true",
        "loss=margin miner=multi_similarity loss.count=triplets",
        "loss=triplet miner=batch_easy_hard",
        "loss=cacr miner=all loss.repulsion=rbf",
        "loss=mann_whitney miner=all loss.pairs_limit=0",
    ]
    return sorted(set(found))


@pytest.mark.parametrize("words", words_of_losses())
def test_eight_ranks_find_what_one_process_finds(words):
    wanted = judged(words, 27)
    first, *others = simulated(8, lambda ranks: judged(words, 27, ranks))
    agree(first, wanted, 1e-9)
    for other in others:
        for name, value in first.items():
            assert torch.equal(other[name], value), f"{name}: the ranks differ"


@every(words=("loss=triplet miner=semihard", "loss=supcon miner=multi_similarity"), count=(16, 64))
def test_many_ranks(words, count):
    wanted = judged(words, 70)
    for found in simulated(count, lambda ranks: judged(words, 70, ranks)):
        agree(found, wanted, 1e-9)
