"""Pairs across two modalities: what a comparison leaves out, for every loss, miner and addition that ships."""

import inspect

import pytest
import torch
from combinations import every
from tiny_runs import COMPOSER

from metriscope.build.modalities import check_pairs
from metriscope.build.run import objective_of
from metriscope.config.objective import fitting_miners, shipped
from metriscope.config.plain import plain
from metriscope.config.rules import check
from metriscope.errors import InputError
from metriscope.losses import InfoNCELoss, InstanceLoss, MVInfoNCELoss, NPairLoss, TripletLoss
from metriscope.objectives.comparison import Comparison, Segment
from metriscope.objectives.distances.cosine import Cosine
from metriscope.objectives.distances.euclidean import Euclidean
from metriscope.objectives.losses.pairs import ranked_list
from metriscope.objectives.miners.bands import AllMiner
from metriscope.objectives.miners.batch_hard import BatchHardMiner
from metriscope.objectives.objective import Objective
from metriscope.objectives.references.embedding_expansion import EmbeddingExpansion
from metriscope.objectives.references.memory import CrossBatchMemory
from metriscope.objectives.samples import Moment, Samples, Spaces
from metriscope.objectives.selection import Pairs, RowPairs, TripletBand, Triplets, as_pairs

LOSSES, MINERS = shipped("loss"), shipped("miner")
MODES = ("other", "same")
# Class 2 is on one side only, class 3 has one pair, and a sample has no label.
LABELS = [0, 0, 1, 1, 2, 3, -1, 0, 0, 1, 1, 0, 3, -1]
SIDE = [0] * 7 + [1] * 7
INDEX = [*range(7), *range(7)]
PAST, PAST_SIDE = [0, 1, 2, 0, 3, -1], [1, 0, 1, 0, -1, 1]
CLASSES, SIZE, NUMBER = 5, 6, 20
# Losses whose terms are no pairs that a mask could say.
OF_OWN_PAIRS = {"n_pair", "instance", "mv_infonce", "mv_dhel", "pcr"}


def tensor(numbers):
    return torch.tensor(numbers, dtype=torch.int64)


def embeddings(count, seed=0):
    raw = torch.randn(count, SIZE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.normalize(raw).requires_grad_()


def batch(z, side=SIDE):
    sides = None if side is None else tensor(side)
    return Spaces.of(z, tensor(LABELS), tensor(INDEX), trunk=z.detach(), side=sides)


def moment(epoch=0):
    return Moment(epoch, generator=torch.Generator().manual_seed(3))


def built(*words):
    torch.manual_seed(0)
    return objective_of(plain(COMPOSER(list(words))), CLASSES, SIZE, trunk_size=SIZE, num_samples=NUMBER).double()


def made(part, **keys):
    """A part with the sizes that it takes, without a config."""
    sizes = {"num_classes": CLASSES, "embedding_size": SIZE, "num_samples": NUMBER}
    takes = inspect.signature(part.__init__).parameters
    torch.manual_seed(0)
    return part(**{name: size for name, size in sizes.items() if name in takes}, **keys)


def wanted(mode, labels=LABELS, side=SIDE, further=(), further_side=(), never=()):
    """Masks of positives and negatives, pair by pair."""
    columns, sides = [*labels, *further], [*side, *further_side]
    barred = [False] * len(labels) + list(never or [False] * len(further))
    masks = [[[], []] for _ in labels]
    for i, (label, own) in enumerate(zip(labels, side, strict=True)):
        for j, (other, given) in enumerate(zip(columns, sides, strict=True)):
            known = label >= 0 and other >= 0 and own >= 0 and given >= 0
            met = known and (mode == "all" or (own != given) == (mode == "other"))
            masks[i][0].append(met and label == other and i != j and not barred[j])
            masks[i][1].append(met and label != other)
    shape = len(labels), len(columns)
    return [torch.tensor([row[k] for row in masks], dtype=torch.bool).view(shape) for k in (0, 1)]


def compared(mode, labels=LABELS, side=SIDE, further=(), further_side=(), never=None):
    some = Samples(embeddings(len(labels)).detach(), tensor(labels), tensor(labels), side=tensor(side))
    segments = [Segment(some)]
    if further:
        past = embeddings(len(further), 1).detach()
        segments.append(
            Segment(Samples(past, tensor(further), tensor(further), side=tensor(further_side)), bool(never))
        )
    return Comparison(some, segments, Euclidean(), across=mode)


@every(
    mode=("all", *MODES),
    layout=(
        (LABELS, SIDE),
        ([0, 0, 1, 1, 0, 0], [0, 1, 0, 1, 1, 0]),
        ([0, 1, 1], [0, 0, 0]),
        ([5], [1]),
        ([], []),
        ([0, 0, 0, 1], [0, -1, 1, 1]),
    ),
    past=(((), (), None), (PAST, PAST_SIDE, None), (PAST, PAST_SIDE, [True] * len(PAST))),
)
def test_masks_and_classes_are_those_of_every_single_pair(mode, layout, past):
    comparison = compared(mode, *layout, *past)
    positive, negative = wanted(mode, *layout, *past[:2], past[2] or ())
    if mode == "all":
        assert comparison.sides is None
        return
    assert torch.equal(comparison.positive, positive)
    assert torch.equal(comparison.negative, negative)
    classes, count = comparison.classes, len(layout[0])
    assert torch.equal(classes.sizes, torch.stack([positive.sum(1), negative.sum(1)], 1))
    for rows in (slice(0, count), slice(1, count)):
        found = classes.numbers(rows, torch.float64)
        assert [torch.equal(one, mask[rows].double()) for one, mask in zip(found, (positive, negative))] == [True] * 2  # noqa: B905
        members = classes.members(rows)
        listed = torch.zeros_like(positive[rows])
        for row, (columns, present) in enumerate(zip(members.columns.tolist(), members.present.tolist(), strict=True)):
            chosen = [column for column, there in zip(columns, present, strict=True) if there]
            assert len(set(chosen)) == len(chosen)
            listed[row, chosen] = True
        assert torch.equal(listed, positive[rows])


def of_masks(output, z):
    (gradient,) = torch.autograd.grad(output.value, z, retain_graph=True)
    return output.value.detach(), gradient, output.terms, output.active


def agree(found, expected):
    for one, other in zip(found[:2], expected[:2], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)
    assert found[2:] == expected[2:]


@pytest.mark.parametrize("name", [name for name in LOSSES if name not in ("pml", "sum")])
def test_every_loss_is_that_of_the_pairs_that_are_left(name, monkeypatch):
    loss, miner = made(LOSSES[name]).double(), made(MINERS[fitting_miners(LOSSES[name].accepts)[0]])
    for mode in MODES:
        if mode in loss.not_across:
            with pytest.raises(InputError, match=f"^pairs_across={mode} does not go with {type(loss).__name__}: "):
                Objective(Euclidean(), miner, loss, pairs_across=mode)
            continue
        objective = Objective(Euclidean(), miner, loss, pairs_across=mode).eval()
        for labels, side in ((LABELS, SIDE), ([0, 1, 0, 1], [0, 0, 1, 1]), ([0, 0], [0, 0]), ([1], [0]), ([], [])):
            z = embeddings(len(labels))
            spaces = Spaces.of(z, tensor(labels), tensor(INDEX[: len(labels)]), trunk=z.detach(), side=tensor(side))
            output = objective(spaces, moment()).output
            (gradient,) = torch.autograd.grad(output.value, z, retain_graph=True)
            assert output.value.isfinite()
            assert gradient.isfinite().all()
            assert int(output.terms) or (output.value == 0 and not gradient.any())
        small = Objective(Euclidean(), miner, made(LOSSES[name]), pairs_across=mode)
        z = embeddings(len(LABELS)).detach().bfloat16().requires_grad_()
        value = small(batch(z), moment()).output.value
        assert value.isfinite()
        assert torch.autograd.grad(value, z)[0].isfinite().all()
        if name in OF_OWN_PAIRS:
            continue
        # Without sides, the same pairs come from a selection.
        z = embeddings(len(LABELS))
        found = of_masks(objective(batch(z), moment()).output, z)
        pairs = Pairs(*wanted(mode))
        alone = Objective(Euclidean(), miner, loss).eval()
        comparison = alone.compare(batch(z, None).samples("embedding", alone.affinity), moment())
        of_bands = "pairs" not in loss.accepts and "band" in loss.accepts
        with monkeypatch.context() as patch:
            # Two of them listen to no selection.
            patch.setattr(ranked_list, "TripletBand", lambda pairs=pairs: pairs)
            comparison._kept.masks = pairs.positive, pairs.negative
            expected = alone.judge(comparison, TripletBand(pairs=pairs) if of_bands else pairs).output
        agree(found, of_masks(expected, z))


@pytest.mark.parametrize("name", [name for name in MINERS if name not in ("pml", "none")])
def test_every_miner_selects_pairs_that_are_left(name):
    miner = made(MINERS[name])
    for mode in MODES:
        if mode in miner.not_across:
            with pytest.raises(InputError, match=f"^pairs_across={mode} does not go with {type(miner).__name__}: "):
                Objective(Euclidean(), miner, TripletLoss(), pairs_across=mode)
            continue
        objective = Objective(Euclidean(), miner, TripletLoss(), pairs_across=mode)
        comparison = objective.compare(batch(embeddings(len(LABELS)).detach()).samples("embedding"), moment())
        positive, negative = wanted(mode)
        selection = objective.select(comparison)
        if isinstance(selection, Triplets):
            a, p, n = (one[selection.valid] for one in (selection.anchor, selection.positive, selection.negative))
            assert len(a)
            assert positive[a, p].all()
            assert negative[a, n].all()
        elif isinstance(selection, Pairs | RowPairs):
            pairs = as_pairs(selection, comparison)
            assert pairs.positive.any()
            assert not (pairs.positive & ~positive).any()
            assert not (pairs.negative & ~negative).any()
        else:
            assert isinstance(selection, TripletBand)
            assert selection.pairs is None


@every(mode=MODES, name=("contrastive", "triplet", "infonce", "supcon", "histogram", "fastap"))
def test_a_memory_keeps_sides(name, mode):
    loss, memory = made(LOSSES[name]), CrossBatchMemory(8, SIZE, sides=True)
    objective = Objective(Euclidean(), AllMiner(), loss, [memory], pairs_across=mode).double()
    past = embeddings(len(PAST), 1).detach()
    memory.store(Samples(past, tensor(PAST), tensor(PAST), side=tensor(PAST_SIDE)))
    z = embeddings(len(LABELS))
    found = of_masks(objective(batch(z), moment()).output, z)
    further = [*PAST, -1, -1], [*PAST_SIDE, -1, -1]
    positive, negative = wanted(mode, further=further[0], further_side=further[1])
    held = Samples.of(torch.cat([past, torch.zeros(2, SIZE, dtype=past.dtype)]), tensor(further[0]))
    own = batch(z, None).samples("embedding")
    comparison = Comparison(own, [Segment(own), Segment(held)], objective.distance, moment())
    agree(found, of_masks(objective.loss(comparison, Pairs(positive, negative)), z))
    # The last of the step are stored.
    assert sorted(memory.side.tolist()) == sorted(SIDE[-8:])


BESIDE = {
    "points": {"references": [EmbeddingExpansion()]},
    "points and a memory": {"references": [CrossBatchMemory(8, SIZE, sides=True), EmbeddingExpansion()]},
    **{name: {"mixture": made(mixture)} for name, mixture in shipped("mixture").items()},
    **{name: {"weighting": made(weighting)} for name, weighting in shipped("weighting").items()},
}


@pytest.mark.parametrize("name", BESIDE)
def test_what_is_beside_a_loss_keeps_to_the_pairs_that_are_left(name):
    for mode in MODES:
        objective = Objective(Euclidean(), AllMiner(), InfoNCELoss(), **BESIDE[name], pairs_across=mode).double()
        for epoch in (8, 9):
            z = embeddings(len(LABELS), epoch)
            output = objective(batch(z), moment(epoch)).output
            (gradient,) = torch.autograd.grad(output.value, z, retain_graph=True)
            assert output.value.isfinite()
            assert output.value > 0
            assert gradient.isfinite().all()
    # What happens on one side does not touch the other.
    mine = torch.autograd.grad(_of_side_0(objective.eval(), z), z)[0]
    assert mine[:7].any()
    assert not mine[7:].any()


def _of_side_0(objective, z):
    some = Spaces.of(z, torch.where(tensor(SIDE) == 0, tensor(LABELS), -1), tensor(INDEX), z.detach(), tensor(SIDE))
    return objective(some, moment(9)).output.value


def test_stand_ins_are_compared_with_the_other_side():
    parts = BatchHardMiner(stand_ins=True), TripletLoss(), [EmbeddingExpansion()]
    objective = Objective(Euclidean(), *parts, pairs_across="other")
    comparison = objective.compare(batch(embeddings(len(LABELS))).samples("embedding"), moment())
    found = objective.select(comparison)
    sides = comparison.references.side
    apart = sides[found.stand_in] != sides[found.negative]
    assert (apart & (found.stand_in >= len(LABELS)) & found.valid).any()
    assert apart[found.valid].all()


def softplus_sum(logits):
    return torch.logsumexp(torch.stack(logits), 0)


def test_n_pair_takes_the_sample_of_the_same_place_on_the_other_side():
    labels, side = [0, 1, 0, 1, 0, 1, 0, 1], [0, 0, 0, 0, 1, 1, 1, 1]
    z = embeddings(8)
    for anchors, chosen in (("all", range(8)), ("first", (0, 1, 4, 5))):
        objective = Objective(Cosine(), AllMiner(), NPairLoss(anchors=anchors), pairs_across="other")
        found = of_masks(objective(Spaces.of(z, tensor(labels), side=tensor(side))).output, z)
        terms = []
        for i in chosen:
            mate = (i + 4) % 8
            # Of each other class the one of the same place.
            other = mate + 1 if mate % 2 == 0 else mate - 1
            terms.append(softplus_sum([z[i] @ z[mate], z[i] @ z[other]]) - z[i] @ z[mate])
        value = torch.stack(terms).mean()
        torch.testing.assert_close(found[0], value.detach())
        torch.testing.assert_close(found[1] - _radial(found[1], z), _tangent(value, z))
        assert int(found[2]) == len(terms)


def test_instance_takes_the_first_of_the_class_on_the_other_side():
    z, (positive, negative) = embeddings(len(LABELS)), wanted("other")
    objective = Objective(Cosine(), AllMiner(), InstanceLoss(2.0), pairs_across="other")
    found = of_masks(objective(batch(z)).output, z)
    terms = []
    for i in range(len(LABELS)):
        every_one = [2 * z[i] @ z[j] for j in range(len(LABELS)) if positive[i, j] or negative[i, j]]
        own = [2 * z[i] @ z[j] for j in range(len(LABELS)) if positive[i, j]]
        if own:
            terms.append(softplus_sum(every_one) - own[0])
    value = torch.stack(terms).mean()
    torch.testing.assert_close(found[0], value.detach())
    torch.testing.assert_close(found[1] - _radial(found[1], z), _tangent(value, z))


def test_views_of_an_image_may_be_its_two_sides():
    z, t = embeddings(8), 0.5
    side, index = tensor([0, 0, 0, 0, 1, 1, 1, 1]), tensor([0, 1, 2, 3] * 2)
    labels = tensor([0, 1, 2, 3] * 2)
    objective = Objective(Cosine(), AllMiner(), MVInfoNCELoss(t, "images"), pairs_across="other")
    found = of_masks(objective(Spaces.of(z, labels, index, side=side)).output, z)
    terms = []
    for i in range(4):
        pulled = [z[a] @ z[b] / t for a, b in ((i, i + 4), (i + 4, i))]
        pushed = [z[a] @ z[b] / t for a in (i, i + 4) for b in range(8) if side[a] != side[b]]
        terms.append(softplus_sum(pushed) - softplus_sum(pulled))
    value = torch.stack(terms).mean()
    torch.testing.assert_close(found[0], value.detach())
    torch.testing.assert_close(found[1] - _radial(found[1], z), _tangent(value, z))


def _radial(gradient, z):
    return (gradient * z).sum(1, keepdim=True) * z.detach()


def _tangent(value, z):
    (gradient,) = torch.autograd.grad(value, z)
    return gradient - _radial(gradient, z)


def test_infonce_between_modalities_pair_by_pair():
    z, (positive, negative) = embeddings(len(LABELS)), wanted("other")
    objective = Objective(Cosine(), AllMiner(), InfoNCELoss(0.5), pairs_across="other")
    found = of_masks(objective(batch(z)).output, z)
    terms = []
    for i, j in positive.nonzero().tolist():
        if negative[i].any():
            pushed = [z[i] @ z[n] / 0.5 for n in negative[i].nonzero().flatten().tolist()]
            terms.append(softplus_sum([z[i] @ z[j] / 0.5, *pushed]) - z[i] @ z[j] / 0.5)
    value = torch.stack(terms).mean()
    torch.testing.assert_close(found[0], value.detach())
    torch.testing.assert_close(found[1] - _radial(found[1], z), _tangent(value, z))


@pytest.mark.parametrize("across", [None, "all"])
def test_without_a_choice_sides_change_no_bit(across):
    z = embeddings(len(LABELS))
    for loss in (TripletLoss(), InfoNCELoss()):
        outputs = [
            of_masks(Objective(Euclidean(), AllMiner(), loss, pairs_across=p)(batch(z, side)).output, z)
            for p, side in ((None, None), (across, SIDE))
        ]
        assert all(torch.equal(one, other) for one, other in zip(*(one[:3] for one in outputs), strict=True))


@pytest.mark.slow
@every(loss=(InfoNCELoss, TripletLoss, NPairLoss))
def test_one_graph_gives_the_same(loss):
    torch.compiler.reset()
    objective = Objective(Euclidean(), AllMiner(), loss(), pairs_across="other").double()
    z = embeddings(len(LABELS))

    def value(z):
        return objective(batch(z)).output.value

    compiled = torch.compile(value, fullgraph=True, backend="eager")
    for one, other in zip(*([v, *torch.autograd.grad(v, z)] for v in (value(z), compiled(z))), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_a_part_of_a_comparison_and_blocks_keep_sides():
    comparison = compared("other", further=PAST, further_side=PAST_SIDE)
    positive, negative = wanted("other", further=PAST, further_side=PAST_SIDE)
    rows, columns = tensor([3, 8, 0]), tensor([0, 7, 9, 2, 15])
    some = comparison.among(rows, columns)
    assert torch.equal(some.positive, positive[rows][:, columns])
    assert torch.equal(some.negative, negative[rows][:, columns])
    for one in (
        comparison.block(slice(2, 9)),
        comparison.only(slice(2, 9)),
        comparison.of_anchors().block(slice(2, 9)),
    ):
        assert torch.equal(one.positive, positive[2:9])
        assert torch.equal(one.negative, negative[2:9])


def test_objectives_of_a_sum_choose_for_themselves():
    z = embeddings(len(LABELS))
    entries = "loss.losses=[{name: triplet, pairs_across: other},{name: triplet},{name: triplet, pairs_across: all}]"
    objective = built("loss=sum", entries, "memory.size=5", "pairs_across=same")
    assert [one.pairs_across for one in objective] == ["other", "same", None]
    found = objective.eval()(batch(z)).output.parts
    for place, mode in enumerate(("other", "same", None)):
        alone = Objective(Euclidean(), AllMiner(), TripletLoss(), pairs_across=mode)(batch(z)).output.value
        torch.testing.assert_close(found[f"loss_{place}"], alone.detach())


def test_data_of_one_modality_are_refused():
    for words, key in (
        (["pairs_across=other"], "pairs_across=other"),
        (["loss=sum", "loss.losses=[{name: triplet, pairs_across: same}]"], r"loss.losses\[0\].pairs_across=same"),
    ):
        with pytest.raises(InputError, match=rf"^{key}: the data are of one modality; leave it null, or use paired"):
            check_pairs(plain(COMPOSER(words)))


def test_refusals():
    z = embeddings(len(LABELS))
    objective = Objective(Euclidean(), AllMiner(), TripletLoss(), [CrossBatchMemory(4, SIZE)], pairs_across="other")
    with pytest.raises(InputError, match=r"^pairs_across=other: the samples have no sides; use paired data"):
        objective(batch(z, None))
    with pytest.raises(InputError, match=r"^pairs_across=other: some references have no side"):
        objective(batch(z))


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["pairs_across=others"], "^pairs_across=others: it has to be one of all, other, same; did you mean 'other'"),
        (["loss=sum", "loss.losses=[{name: triplet, pairs_across: both}]"], r"^loss.losses\[0\].pairs_across=both"),
        (["loss=smooth_ap", "miner=none", "loss.include_anchor=true", "pairs_across=other"],
         "^pairs_across=other does not go with loss=smooth_ap: include_anchor=true"),
        (["loss=angular", "pairs_across=other"], "^pairs_across=other does not go with loss=angular: a term needs"),
        (["miner=angular", "pairs_across=other"], "^pairs_across=other does not go with miner=angular: it needs"),
        (["references=hard_pairs", "pairs_across=same"], "^pairs_across=same does not go with references=hard_pairs"),
        (["loss=pml", "loss.peer=TripletMarginLoss", "pairs_across=other"],
         "^pairs_across=other does not go with loss=TripletMarginLoss: that library"),
    ],
)  # fmt: skip
def test_refused_in_one_line_before_anything_loads(words, line):
    with pytest.raises(InputError, match=line):
        check(COMPOSER(words))
