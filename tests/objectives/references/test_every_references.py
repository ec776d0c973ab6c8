"""What all references that ship owe: any loss and miner, blocks, other processes, affinities, diagnostics."""

import pytest
import torch
from combinations import every
from oracles import LAYOUTS
from torch.nn.functional import normalize

from metriscope.build.objective import build_objective
from metriscope.config.files import section
from metriscope.config.objective import fitting_miners, shipped
from metriscope.diagnostics.activity import pair_activity, pulls_of_slopes
from metriscope.diagnostics.spread import negative_spread
from metriscope.losses import InfoNCELoss, NPairLoss
from metriscope.miners import AllMiner, NoMiner
from metriscope.objectives.comparison import Comparison, Segment
from metriscope.objectives.distances.cosine import Cosine
from metriscope.objectives.objective import Objective
from metriscope.objectives.references.embedding_expansion import EmbeddingExpansion
from metriscope.objectives.samples import Moment, Samples, Spaces
from metriscope.objectives.selection import Pairs, TripletBand
from metriscope.weightings import SoftNegativeWeighting

LOSSES, REFERENCES = shipped("loss"), shipped("references")
EDGES = [([], "apart"), ([4] * 5, "opposite"), ([-1, 0, 0, -1, 1, 1, 2], "equal"), ([3, 3, 3, 3, 1, 1, 7], "apart")]
SIZE, FEATURES = 4, 6


def read(group, name):
    found = section(group, name)
    return {key: found[key] for key in found if "${" not in str(found._get_node(key)._value())}


def built(loss, references, miner=None, size=0):
    sections = {"loss": read("loss", loss), "miner": read("miner", miner or fitting_miners(LOSSES[loss].accepts)[0])}
    sections |= {"distance": read("distance", "cosine"), "references": read("references", references)}
    sections["memory"] = {**read("memory", "xbm"), "size": size, "warmup_steps": 0} if size else {}
    sizes = {"embedding": SIZE, "trunk": FEATURES}
    return build_objective(sections, num_classes=9, sizes=sizes, num_samples=30, seed=0)


def batch(labels, way="apart", dtype=torch.float64):
    source = torch.Generator().manual_seed(len(labels))
    raw = torch.randn(len(labels), SIZE, generator=source, dtype=torch.float64)
    if way != "apart":
        raw = raw[:1].expand_as(raw)
    if way == "opposite":
        raw = raw * torch.where(torch.arange(len(raw)) % 2 == 0, 1, -1).unsqueeze(1)
    z = normalize(raw, dim=1).to(dtype).detach().requires_grad_()
    index = torch.arange(len(labels))
    return z, Spaces.of(z, torch.tensor(labels, dtype=torch.int64), index, trunk=torch.ones(len(z), FEATURES))


def moment():
    return Moment(generator=torch.Generator().manual_seed(0))


COMPARING = [name for name, part in LOSSES.items() if part.accepts - {"none"}] + ["n_pair"]


@pytest.mark.parametrize("references", REFERENCES)
@pytest.mark.parametrize("loss", COMPARING)
def test_batches_at_the_edge(references, loss):
    objective = built(loss, references, size=7).double()
    for labels, way in EDGES:
        z, spaces = batch(labels, way)
        output = objective(spaces, moment()).output
        assert output.value.isfinite()
        (gradient,) = torch.autograd.grad(output.value, z)
        assert gradient.isfinite().all()
        assert bool(output.terms) or (output.value == 0 and not gradient.any())


@pytest.mark.parametrize("references", REFERENCES)
@every(loss=("triplet", "infonce"))
def test_half_precision_and_what_every_miner_selects(references, loss):
    for miner in fitting_miners(LOSSES[loss].accepts):
        z, spaces = batch(LAYOUTS["few classes"], dtype=torch.bfloat16)
        value = built(loss, references, miner)(spaces, moment()).output.value
        assert value.isfinite()
        assert torch.autograd.grad(value, z)[0].isfinite().all()


@pytest.mark.parametrize("references", REFERENCES)
def test_the_size_of_a_block_and_who_asks_first_change_nothing(references):
    found = []
    for asked, memory_mb in ((False, None), (False, 3e-3), (True, None)):
        objective = built("infonce", references).double()
        objective.memory_mb = memory_mb
        z, spaces = batch(LAYOUTS["few classes"])
        comparison = objective.compare(spaces.samples("embedding"), moment())
        if asked:
            with torch.no_grad():
                _ = comparison.distances
        value = objective.judge(comparison, TripletBand()).output.value
        found.append([value.detach(), *torch.autograd.grad(value, z)])
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-11, atol=1e-13)


BY_PAIRS = [name for name, part in LOSSES.items() if {"all", "pairs"} <= part.accepts]


@pytest.mark.parametrize("loss", BY_PAIRS)
def test_no_loss_takes_a_negative_for_a_positive(loss):
    """All pairs of points that are negatives only are those of a selection without them as positives."""
    objective = built(loss, "embedding_expansion").double()
    z, spaces = batch(LAYOUTS["few classes"])
    spaces = spaces._replace(labels=spaces.labels % 3)
    first = objective.compare(spaces.samples("embedding", objective.affinity), moment())
    second = Comparison(first.anchors, [first.segments[0], Segment(first.segments[1].samples)], objective.distance)
    outputs = [
        objective.loss(first, TripletBand()),
        objective.loss(second, Pairs(second.positive & ~first.negatives_only, second.negative)),
    ]
    torch.testing.assert_close(outputs[0].value, outputs[1].value, rtol=1e-12, atol=1e-12)
    gradients = [torch.autograd.grad(one.value, z, retain_graph=True)[0] for one in outputs]
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-11)


@every(anchors=("all", "first"))
def test_points_beside_the_pairs_of_n_pair(anchors):
    _, spaces = batch([0, 0, 1, 1, 2, 2])
    objective = Objective(Cosine(), NoMiner(), NPairLoss(anchors=anchors), [EmbeddingExpansion()])
    comparison = objective.compare(spaces.samples("embedding"))
    s, labels = comparison.similarities.exp(), comparison.references.labels.tolist()
    terms = []
    for a in range(6) if anchors == "all" else (0, 2, 4):
        partner = [j for j in range(6) if j % 2 != a % 2]
        pushed = [j for j in (*partner, *range(6, 18)) if labels[j] != labels[a]]
        terms.append((1 + sum(s[a, j] for j in pushed) / s[a, a ^ 1]).log())
    torch.testing.assert_close(objective(spaces).output.value, sum(terms) / len(terms), rtol=1e-12, atol=0)


@pytest.mark.parametrize("references", REFERENCES)
def test_affinities_of_mixtures(references, tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("1,0,0\n0,1,0\n0,0,1\n")
    for weighting in (
        SoftNegativeWeighting(),
        SoftNegativeWeighting(num_classes=3, affinity="classes", table=str(table)),
    ):
        z, spaces = batch([0, 0, 1, 1, 2, 2])
        objective = Objective(Cosine(), AllMiner(), InfoNCELoss(), [REFERENCES[references]()], weighting)
        value = objective(spaces, moment()).output.value
        assert torch.autograd.grad(value, z)[0].isfinite().all()


@pytest.mark.parametrize("references", REFERENCES)
def test_diagnostics_count_pairs_of_real_samples(references):
    _, spaces = batch([0, 0, 1, 1, 2, 2])
    objective = built("infonce", references).double()
    step = objective(spaces, moment())
    pulls = [pulls_of_slopes(step.comparison, step.output.slopes)]
    found = pair_activity(step.comparison, pulls, hinge=False, threshold=0.0)
    assert (int(found.valid), int(found.active)) == (30, 30)
    assert found.samples.all()
    assert step.comparison.shape == (6, 18)
    weights = pulls[0](slice(0, 6)).abs()[:, :6] * step.comparison.negative[:, :6]
    shares = weights / weights.sum(1, keepdim=True)
    wanted = (torch.special.entr(shares).sum(1).exp() / 4).sum()
    torch.testing.assert_close(negative_spread(step.comparison, pulls).total, wanted)
    some = step.comparison.among(torch.tensor([0, 1]), torch.tensor([0, 7]))
    assert some.synthetic.tolist() == [False, True]
    assert Comparison(some.anchors, [Segment(some.anchors)], Cosine()).synthetic is None


def test_samples_with_a_memory_come_before_mixtures():
    objective = built("infonce", "embedding_expansion", size=5).double()
    _, spaces = batch([0, 0, 1, 1])
    objective(spaces, moment())
    comparison = objective.compare(spaces.samples("embedding"), moment())
    assert comparison.synthetic.tolist() == [False] * 9 + [True] * 8
    assert torch.equal(comparison.negatives_only, comparison.synthetic)
    assert comparison.positive[:, 4:9].any()
    assert isinstance(comparison.references, Samples)
