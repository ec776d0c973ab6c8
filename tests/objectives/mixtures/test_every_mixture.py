"""What the contract asks of every mixture that ships, with every loss that takes mixtures."""

from dataclasses import replace

import pytest
import torch
from combinations import every
from oracles import LAYOUTS

from metriscope.config.objective import check_fit, shipped
from metriscope.errors import InputError
from metriscope.losses import ContrastiveLoss, InfoNCELoss, LiftedStructureLoss, RowLoss, TripletLoss
from metriscope.objectives.distances.cosine import Cosine
from metriscope.objectives.distances.euclidean import Euclidean
from metriscope.objectives.kernels.rows import mean_over_anchors
from metriscope.objectives.kernels.rules import Rule
from metriscope.objectives.miners.bands import AllMiner
from metriscope.objectives.miners.hard_share import HardShareMiner
from metriscope.objectives.mixed import Mixtures
from metriscope.objectives.objective import Objective
from metriscope.objectives.references.memory import CrossBatchMemory
from metriscope.objectives.samples import Moment, Samples, Spaces
from metriscope.objectives.selection import Pairs

MIXTURES = shipped("mixture")
LOSSES = {name: loss for name, loss in shipped("loss").items() if loss.mixes}
BY_HAND = [name for name, loss in LOSSES.items() if issubclass(loss, RowLoss) and loss().kernel() is not None]
BATCHES = [*LAYOUTS.values(), [], [-1, 0, 0, -1, 1, 1, 2]]
KINDS = ((InfoNCELoss, Cosine), (ContrastiveLoss, Euclidean))


def batch(labels, dtype=torch.float64, same=False):
    source = torch.Generator().manual_seed(len(labels))
    z = torch.randn(len(labels), 4, generator=source).to(dtype)
    z = torch.nn.functional.normalize(z[:1].expand_as(z) if same else z).clone().requires_grad_()
    return z, Spaces.of(z, torch.tensor(labels, dtype=torch.int64), torch.arange(len(labels)))


def moment(epoch=8):
    return Moment(epoch, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("name", MIXTURES)
@every(kind=KINDS, labels=BATCHES, how=((torch.bfloat16, True, False), (torch.float32, False, True)))
def test_batches_at_the_edge(name, kind, labels, how):
    (loss, distance), (dtype, same, memory) = kind, how
    references = [CrossBatchMemory(7, 4)] if memory else []
    objective = Objective(distance(), AllMiner(), loss(), references, mixture=MIXTURES[name]())
    for _ in range(2):
        z, spaces = batch(labels, dtype, same)
        output = objective(spaces, moment()).output
        assert output.value.isfinite()
        (gradient,) = torch.autograd.grad(output.value, z)
        assert gradient.isfinite().all()
        assert bool(output.terms) or (output.value == 0 and not gradient.any())
        assert all(part.isfinite() for part in output.parts.values())


@pytest.mark.parametrize("name", MIXTURES)
@every(kind=KINDS[:1])
def test_whatever_the_blocks(name, kind):
    loss, distance = kind
    found = []
    for memory_mb in (None, 1e-3):
        part = MIXTURES[name]()
        objective = Objective(distance(), HardShareMiner(0.5), loss(), (), None, memory_mb=memory_mb, mixture=part)
        z, spaces = batch(LAYOUTS["few classes"])
        output = objective(spaces, moment()).output
        found += [output.value.detach(), torch.autograd.grad(output.value, z)[0]]
    for one, other in zip(found[:2], found[2:], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", MIXTURES)
def test_validation_sees_samples_alone(name):
    _, spaces = batch([0, 0, 1, 1, 2, 2])
    plain = Objective(Cosine(), AllMiner(), InfoNCELoss())(spaces, moment()).output.value
    objective = Objective(Cosine(), AllMiner(), InfoNCELoss(), mixture=MIXTURES[name]())
    assert objective(spaces, moment()).output.value > plain
    assert torch.equal(objective.eval()(spaces, moment()).output.value, plain)


@pytest.mark.parametrize("name", MIXTURES)
@pytest.mark.parametrize("loss", [name for name in LOSSES if name != "circle"])
def test_gradients_are_those_of_the_value(name, loss):
    """Along a direction, by differences; where nothing is constant, as weights of the circle loss are."""
    keys = {"frozen": False} if "frozen" in MIXTURES[name].__init__.__annotations__ else {}
    labels = [0, 0, 0, 1, 1, 2, 2]
    z, spaces = batch(labels)
    part, distance = MIXTURES[name](**keys), Euclidean()
    objective = Objective(distance, AllMiner(), LOSSES[loss](), mixture=part).double()
    towards = torch.randn(z.shape, dtype=z.dtype, generator=torch.Generator().manual_seed(5)) * 1e-6

    def value(points):
        moved = Spaces.of(torch.nn.functional.normalize(points), spaces.labels, spaces.index)
        return objective(moved, moment()).output.value

    (gradient,) = torch.autograd.grad(value(z), z)
    with torch.no_grad():
        risen = value(z + towards) - value(z - towards)
    torch.testing.assert_close(risen, 2 * (gradient * towards).sum(), rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("loss", BY_HAND)
def test_slopes_by_hand_see_mixtures(loss):
    """The same as of the formula, differentiated; with weights of all kinds."""
    part = LOSSES[loss]()
    z, spaces = batch([0, 0, 0, 1, 1, 2, 2])
    source, shape = torch.Generator().manual_seed(3), (7, 5)
    ends = [torch.randint(7, shape, generator=source) for _ in range(2)]
    share, up, down = (torch.rand(shape, generator=source, dtype=torch.float64) for _ in range(3))
    mixtures = Mixtures(*ends, share, torch.rand(shape, generator=source) < 0.8, up, down)
    comparison = Objective(Cosine(), AllMiner(), part).compare(spaces.samples("embedding"))
    plain = Rule(part.formula, of_distances=part.of_distances, plain=True, complete=part.complete)
    for selection in (mixtures, Pairs(comparison.positive, comparison.negative, mixtures=mixtures)):
        found = part(comparison, selection)
        wanted = mean_over_anchors(comparison, selection, plain, per_pair=part.per_pair)
        torch.testing.assert_close(found.value, wanted.value, rtol=1e-12, atol=1e-12)
        for one, other in zip(
            *(torch.autograd.grad(x.value, z, retain_graph=True) for x in (found, wanted)), strict=True
        ):
            torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


@every(kind=KINDS, end=(0, 1), frozen=(True, False))
def test_a_mixture_at_its_end_is_the_sample_itself(kind, end, frozen):
    """To the bit: of all positives and negatives, those of an anchor with a share of 0 or 1 of another sample."""
    loss, distance = kind
    z, spaces = batch([0, 0, 1, 1, 2, 2])
    objective = Objective(distance(), AllMiner(), loss())
    comparison = objective.compare(spaces.samples("embedding"))
    itself, other = torch.arange(6).expand(6, 6), torch.arange(6).roll(1).expand(6, 6)
    ends = (other, itself) if end == 0 else (itself, other)
    share = torch.full((6, 6), float(end), dtype=z.dtype)
    masks = comparison.positive, comparison.negative
    mixtures = Mixtures(*ends, share, masks[0] | masks[1], *masks, frozen=frozen)
    plain, mixed = loss()(comparison, Pairs(*masks)).value, loss()(comparison, mixtures).value
    assert torch.equal(plain, mixed)
    if not frozen:
        grads = (torch.autograd.grad(x, z, retain_graph=True)[0] for x in (plain, mixed))
        torch.testing.assert_close(*grads, rtol=1e-10, atol=1e-12)


@pytest.mark.slow
@every(kind=KINDS)
def test_in_a_compiled_graph(kind):
    loss, distance = kind[0](), kind[1]()
    z, spaces = batch([0, 0, 0, 1, 1, 2])
    samples, drawn = spaces.samples("embedding"), torch.tensor([[1, 3]] * 6)
    weights = torch.full((6, 2), 0.5, dtype=z.dtype)
    mixtures = Mixtures(drawn, drawn + 1, weights, torch.ones(6, 2, dtype=torch.bool), weights, weights)
    objective = Objective(distance, AllMiner(), loss)

    def judged(z):
        comparison = objective.compare(samples._replace(embeddings=z))
        pairs = Pairs(comparison.positive, comparison.negative, mixtures=replace(mixtures, frozen=True))
        return loss(comparison, pairs).value + loss(comparison, mixtures).value

    torch.compiler.reset()
    values = [how(z) for how in (judged, torch.compile(judged, fullgraph=True, backend="eager"))]
    torch.testing.assert_close(*values, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(*(torch.autograd.grad(x, z)[0] for x in values), rtol=1e-10, atol=1e-12)


def test_a_loss_that_cannot_take_mixtures_says_so():
    part = next(iter(MIXTURES.values()))()
    for loss in (TripletLoss(), LiftedStructureLoss(form="original")):
        with pytest.raises(InputError, match=f"{type(loss).__name__} cannot take mixtures: .* needs one that can"):
            Objective(Cosine(), AllMiner(), loss, mixture=part)


@pytest.mark.parametrize("loss", ["triplet", "arcface", "proxy_anchor", "fastap", "cwcl"])
def test_configs_with_such_a_loss_are_refused(loss):
    from tiny_runs import COMPOSER

    from metriscope.config.plain import plain

    config = plain(COMPOSER([f"loss={loss}", f"miner={'all' if loss in ('triplet', 'cwcl') else 'none'}"]))
    config["mixture"] = {"name": "mochi", "_target_": "metriscope.objectives.mixtures.mochi.HardNegativeMixture"}
    line = f"^mixture=mochi makes mixtures of samples, which loss={loss} cannot take: use one of .*contrastive.*infonce"
    with pytest.raises(InputError, match=line):
        check_fit(config)


def test_samples_without_a_class_are_not_mixed():
    z = torch.nn.functional.normalize(torch.randn(4, 3, generator=torch.Generator().manual_seed(0)))
    samples = Samples.of(z, torch.tensor([0, 0, -1, 1]))
    for part in MIXTURES.values():
        objective = Objective(Cosine(), AllMiner(), InfoNCELoss(), mixture=part())
        comparison = objective.compare(samples, moment())
        mixtures = objective.mixture.mix(comparison, Pairs(comparison.positive, comparison.negative))
        used = torch.cat([mixtures.first[mixtures.valid], mixtures.second[mixtures.valid]])
        assert 2 not in used.tolist()
        assert not mixtures.valid[2].any()
