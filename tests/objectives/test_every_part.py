"""What the contract asks of every part: batches at the edge of what there is, for all parts that ship."""

from functools import cache

import pytest
import torch
from combinations import every
from oracles import LAYOUTS
from tiny_runs import COMPOSER

from metriscope.build.run import objective_of
from metriscope.config.files import choices
from metriscope.config.objective import fitting_miners, shipped
from metriscope.config.plain import plain
from metriscope.objectives.samples import Moment, Samples, Spaces

LOSSES, MINERS = shipped("loss"), shipped("miner")
CLASSES, SIZE, NUMBER = 9, 6, 50
# Selections that are drawn: another batch draws other terms.
DRAWING = {"random", "distance_weighted", "uniform_histogram", "simlap"}


def pairs_of_parts():
    """Losses with the first miner that they take, miners with the first loss, distances with two losses."""
    found = {(loss, fitting_miners(part.accepts)[0], "euclidean") for loss, part in LOSSES.items()}
    for name, miner in MINERS.items():
        first = next(loss for loss in ("triplet", *LOSSES) if miner.kind in LOSSES[loss].accepts)
        found.add((first, name, "euclidean"))
    found |= {(loss, "all", distance) for loss in ("triplet", "supcon") for distance in choices("distance")}
    return sorted(found)


@cache
def composed(loss, miner, distance, memory):
    words = [f"loss={loss}", f"miner={miner}", f"distance={distance}", f"memory.size={memory}"]
    return plain(COMPOSER(words))


def objective(parts, memory=0):
    torch.manual_seed(0)
    built = objective_of(composed(*parts, memory), CLASSES, SIZE, num_samples=NUMBER)
    return built


def embeddings(labels, dtype=torch.float64, scale=1.0, same=False):
    source = torch.Generator().manual_seed(len(labels))
    raw = torch.randn(len(labels), SIZE, generator=source, dtype=torch.float64)
    raw = raw[:1].expand_as(raw) if same else raw
    z = torch.nn.functional.normalize(raw, dim=1)
    return (scale * z).to(dtype).detach().requires_grad_()


def judge(built, z, labels):
    labels = torch.tensor(labels, dtype=torch.int64)
    index = torch.arange(len(labels)) % NUMBER
    return built(Spaces.of(z, labels, index, trunk=z), Moment(generator=torch.Generator().manual_seed(0))).output


def hold(output, z):
    """What every loss owes for every batch."""
    assert output.value.shape == output.terms.shape == ()
    assert output.value.isfinite()
    assert not output.terms.dtype.is_floating_point
    assert output.active is None or 0 <= int(output.active) <= int(output.terms)
    assert all(part.shape == () and not part.requires_grad for part in output.parts.values())
    assert output.rows is None or (output.rows.shape == z.shape[:1] and not output.rows.requires_grad)
    (gradient,) = torch.autograd.grad(output.value, z, retain_graph=True)
    assert gradient.isfinite().all()
    if not int(output.terms):
        assert output.value == 0
        assert not gradient.any()


parts = pytest.mark.parametrize("parts", pairs_of_parts(), ids="-".join)


@parts
def test_a_batch_of_no_samples(parts):
    z = embeddings([0, 1])[:0].detach().requires_grad_()
    output = judge(objective(parts), z, [])
    hold(output, z)
    assert int(output.terms) == 0


@parts
@every(labels=LAYOUTS, dtype=(torch.float64, torch.float32, torch.bfloat16))
def test_layouts(parts, labels, dtype):
    built, z = (
        objective(parts).to(torch.float64 if dtype == torch.float64 else torch.float32),
        embeddings(labels, dtype),
    )
    hold(judge(built, z, labels), z)


@parts
@every(same=(True, False), scale=(1.0, 6e4, 1e-4), dtype=(torch.float32,))
def test_duplicates_and_the_range_of_half_precision(parts, same, scale, dtype):
    labels = [0, 0, 1, 1, 1, 2]
    # Losses of unit vectors have exponentials of similarities, which hold on the sphere alone.
    scale = scale if parts[2] == "cosine" or parts[0] in ("triplet", "contrastive") else 1.0
    z = embeddings(labels, dtype, scale, same)
    hold(judge(objective(parts).to(dtype), z, labels), z)


@parts
def test_an_unlabelled_sample_takes_no_part(parts):
    labels, kept = [0, -1, 0, 1, 1, -1, 2, 2, 0], [0, 2, 3, 4, 6, 7, 8]
    built = objective(parts).double().eval()
    z = embeddings(labels)
    found = judge(built, z, labels)
    hold(found, z)
    (gradient,) = torch.autograd.grad(found.value, z, retain_graph=True)
    assert not gradient[[1, 5]].any()
    if not DRAWING & {*parts}:
        wanted = judge(built, z[kept], [labels[k] for k in kept])
        torch.testing.assert_close(found.value, wanted.value, rtol=1e-12, atol=1e-12)
        assert (found.terms, found.active) == (wanted.terms, wanted.active)


WITH_MEMORY = [one for one in pairs_of_parts() if one[0] in ("contrastive", "triplet", "supcon", "margin", "n_pair")]


@pytest.mark.parametrize("parts", WITH_MEMORY, ids="-".join)
@every(filled=(0, 3, 40), labels=([0, 1, 0, 2], [5], [7, 7]))
def test_more_references_than_anchors(parts, filled, labels):
    built = objective(parts, memory=30).double()
    if filled:
        past = torch.arange(filled) % 4
        built.references[0].store(Samples.of(embeddings(past.tolist()).detach(), past))
    z = embeddings(labels)
    hold(judge(built, z, labels), z)
    assert built.references[0].steps == (1 if not filled else 2)
    assert (built.references[0].index >= 0).sum() == min(30, len(labels))
