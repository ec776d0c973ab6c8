"""Slopes by hand against the plain formula, for every shipped loss that has both: values, slopes and counts."""

import sys
from dataclasses import replace
from functools import cache, partial
from inspect import signature
from itertools import product
from typing import Literal, get_args, get_origin

import pytest
import torch
from combinations import every
from oracles import DISTANCES, LAYOUTS, embeddings
from row_oracles import MEMORY, memory_embeddings

from metriscope.config.objective import shipped
from metriscope.objectives.comparison import Comparison, Segment
from metriscope.objectives.kernels import rows
from metriscope.objectives.kernels.rows import over_rows
from metriscope.objectives.kernels.rules import NO_INPUTS
from metriscope.objectives.losses.ranking.fastap import FastAPLoss
from metriscope.objectives.losses.softmax.infonce import InfoNCELoss
from metriscope.objectives.samples import Samples
from metriscope.objectives.selection import Pairs, TripletBand
from metriscope.unit import unit_rows

SIZES = {"num_classes": 6, "embedding_size": 4}
# One value of each argument that is no choice and whose default leaves a part of the rule idle.
FURTHER = {
    "positive_margin": 0.3, "temperature_positive": 3.0, "balance": 0.3, "base": 0.5, "num_bins": 7, "nu": 0.1,
}  # fmt: skip
# Choices that the rule knows nothing of, and a form that is no rule.
LEFT_OUT = {"reduction": "sum", "learn_beta": False, "form": "original"}
MORE_LAYOUTS = {
    "empty": [],
    "empty places": [0, -1, 0, 1, 1, -1, 2, 0],
    "empty places alone": [-1, -1, -1],
    "one sample beside empty places": [-1, 3, -1],
    "labels outside the training set": [0, 90, 0, 90, 7],
}
EVERY_LAYOUT = LAYOUTS | MORE_LAYOUTS
ALL, SOME, WEIGHED = "all", "some", "weighed"


def choices(annotation):
    if annotation is bool:
        return True, False
    while get_origin(annotation) is not None and get_origin(annotation) is not Literal:
        annotation = get_args(annotation)[0]
    return get_args(annotation)


def variants(part):
    """A loss with every combination of its choices, with its numbers by default and with others."""
    parameters = signature(part.__init__, eval_str=True).parameters
    options = {name: choices(p.annotation) for name, p in parameters.items() if choices(p.annotation)}
    sizes = {name: size for name, size in SIZES.items() if name in parameters}
    further = {name: value for name, value in FURTHER.items() if name in parameters}
    for numbers in ({}, further) if further else ({},):
        for chosen in product(*options.values()):
            arguments = dict(zip(options, chosen, strict=True))
            if not any(arguments.get(name) == value for name, value in LEFT_OUT.items()):
                yield part(**sizes, **numbers, **arguments).double()


@cache
def comparison(layout, memory, name, dtype=torch.float64, unit=False):
    labels = EVERY_LAYOUT[layout]
    both = embeddings(labels).detach(), memory_embeddings(True)
    own, others = ((unit_rows(z) if unit else z).to(dtype).requires_grad_() for z in both)
    batch, past = Samples.of(own, torch.tensor(labels, dtype=torch.int64)), Samples.of(others, torch.tensor(MEMORY))
    return Comparison(batch, [Segment(batch), *([Segment(past)] if memory else [])], DISTANCES[name]())


def selection(compared, kind):
    if kind == ALL:
        return TripletBand()
    source = torch.Generator().manual_seed(8)
    positive, negative = compared.positive, compared.negative
    if kind == SOME:
        kept = torch.rand(compared.shape, generator=source) < 0.6
        return Pairs(positive & kept, negative & kept)
    drawn = (torch.tensor([0.0, 0.3, 2.0])[torch.randint(3, compared.shape, generator=source)] for _ in range(2))
    # A pair of each kind keeps its weight: with none at all an anchor has no loss to speak of.
    masks = positive, negative
    weights = (one.masked_fill(mask.cumsum(1) == 1, 2.0) for one, mask in zip(drawn, masks, strict=True))
    return Pairs(positive, negative, *weights)


def asked(loss, compared, selected, monkeypatch):
    """What the loss asks the engine for."""
    calls = []

    def record(comparison, selection, rule, inputs=NO_INPUTS, **how):
        calls.append((comparison, selection, rule, inputs))
        return over_rows(comparison, selection, rule, inputs, **how)

    with monkeypatch.context() as patch:
        for module in {rows, *(sys.modules[one.__module__] for one in type(loss).__mro__)}:
            if hasattr(module, "over_rows"):
                patch.setattr(module, "over_rows", record)
        loss(compared, selected)
    return calls


def by_hand():
    """Every variant of every shipped loss with a rule by hand, by name."""
    batch = comparison("few classes", False, "euclidean")
    found, patch = {}, pytest.MonkeyPatch()
    for name, part in shipped("loss").items():
        if hasattr(part, "formula"):
            losses = [loss for loss in variants(part) if not asked(loss, batch, TripletBand(), patch)[-1][2].plain]
            found |= {f"{name} {k}": loss for k, loss in enumerate(losses)}
    return found


BY_HAND = by_hand()


def same(found, wanted, dtype):
    """Equal, up to rounding of the largest entry of the tensor."""
    assert found.shape == wanted.shape
    assert found.isfinite().all()
    tolerance = 1e-9 if dtype == torch.float64 else 1e-4
    largest = float(wanted.detach().abs().max()) if wanted.numel() else 0.0
    torch.testing.assert_close(found, wanted, rtol=tolerance, atol=tolerance * max(1.0, largest))


def gradients(total, leaves):
    found = torch.autograd.grad(total, leaves, allow_unused=True, retain_graph=True)
    return [torch.zeros_like(x) if g is None else g for g, x in zip(found, leaves, strict=True)]


def hold(loss, compared, selected, monkeypatch):
    *before, (compared, selected, rule, inputs) = asked(loss, compared, selected, monkeypatch)
    formula, dtype = loss.formula, compared.anchors.embeddings.dtype
    counted = [over_rows(*call).active for call in before]
    if counted:
        # A loss that counts first scales by what it found.
        scales = 1 / counted[0].clamp_min(1).double()
        formula = partial(formula, scales=scales.to(dtype).unbind())
    plain = replace(rule, judge=formula, plain=True, counts=rule.counts or 2 * len(counted))
    found, wanted = (over_rows(compared, selected, one, inputs) for one in (rule, plain))
    if counted:
        found = found._replace(active=counted[0])
    for one in (found.active, found.sizes, found.valid):
        assert not one.requires_grad
    for name in ("active", "sizes", "valid"):
        assert torch.equal(getattr(found, name), getattr(wanted, name)), name
    counting = found.valid.to(dtype)
    same(found.losses * counting, wanted.losses * counting, dtype)
    whole, one = slice(0, len(counting)), torch.ones((), dtype=torch.float64)
    leaves = [*(segment.samples.embeddings for segment in compared.segments), *loss.parameters()]
    for k, (total, other) in enumerate(zip(found.totals, wanted.totals, strict=True)):
        same(total, other, dtype)
        for by_hand, by_formula in zip(gradients(total, leaves), gradients(other, leaves), strict=True):
            same(by_hand, by_formula, dtype)
        if len(counting):
            scales = [one * (at == k) for at in range(rule.sums)]
            slopes, others = (side.slopes(scales, whole).slopes for side in (found, wanted))
            same(slopes, others, dtype)
            assert not (slopes * ~found.valid).any()


def kinds(loss):
    if "pairs" in loss.weighable:
        return ALL, SOME, WEIGHED
    return (ALL, SOME) if "pairs" in loss.accepts else (ALL,)


def test_which_losses_are_held():
    names = {key.split()[0] for key in BY_HAND}
    assert {"infonce", "nca", "smooth_ap", "fastap", "circle", "contrastive", "margin", "ranked_list"} <= names
    assert {"lifted_structure", "multi_similarity", "supcon", "decoupled_contrastive", "tuplet_margin"} <= names
    assert [key.split()[0] for key in BY_HAND].count("nca") == 2
    assert {loss.detach_weights for key, loss in BY_HAND.items() if key.startswith("ranked_list")} == {True, False}


def on_sphere(loss):
    """Whether the formula is made for similarities between -1 and 1 alone."""
    return isinstance(loss, FastAPLoss)


@every(loss=BY_HAND, layout=tuple(EVERY_LAYOUT))
def test_layouts(loss, layout, monkeypatch):
    for distance in ("euclidean", "cosine"):
        hold(loss, comparison(layout, False, distance, unit=on_sphere(loss)), TripletBand(), monkeypatch)


@every(loss=BY_HAND, layout=("few classes", "uneven, with a singleton", "empty places", "empty", "two of a class"))
def test_with_a_memory_and_pairs_of_a_miner(loss, layout, monkeypatch):
    for kind, distance in zip(kinds(loss), ("cosine", "euclidean", "cosine"), strict=False):
        compared = comparison(layout, True, distance, unit=on_sphere(loss))
        hold(loss, compared, selection(compared, kind), monkeypatch)


@every(loss=BY_HAND, layout=("many classes", "empty places"))
def test_single_precision(loss, layout, monkeypatch):
    for kind, distance in zip(kinds(loss), ("euclidean", "cosine", "euclidean"), strict=False):
        compared = comparison(layout, True, distance, torch.float32, on_sphere(loss))
        hold(loss, compared, selection(compared, kind), monkeypatch)


@every(loss=BY_HAND, distance=("euclidean", "cosine"))
def test_rules_change_no_value_and_give_slopes_of_their_own(loss, distance, monkeypatch):
    *_, (compared, selected, rule, inputs) = asked(
        loss, comparison("few classes", True, distance), TripletBand(), monkeypatch
    )
    seen = []

    def judge(rows):
        before, judged = rows.values.clone(), rule.judge(rows)
        places = [one.data_ptr() for one in (rows.values, rows.positive, rows.negative, *judged.slopes)]
        seen.append(torch.equal(rows.values, before) and len(set(places)) == len(places))
        return judged

    over_rows(compared, selected, replace(rule, judge=judge), inputs)
    assert seen == [True]


class Nothing(InfoNCELoss):
    def formula(self, rows):
        return 0 * super().formula(rows)


def test_a_formula_in_place_of_that_of_the_parent():
    assert Nothing()(comparison("few classes", True, "cosine"), TripletBand()).value == 0


@every(layout=("few classes", "many classes"))
def test_fastap_of_points_off_the_sphere(layout, monkeypatch):
    hold(FastAPLoss(), comparison(layout, False, "euclidean"), TripletBand(), monkeypatch)


# Where an anchor with either kind of pair counts, both have to be without weight.
WEIGHED = [
    (name, side)
    for name, part in shipped("loss").items()
    if "pairs" in part.weighable
    for side in (range(3) if getattr(part, "complete", True) else [2])
]


@every(case=WEIGHED)
def test_an_anchor_whose_pairs_have_no_weight_does_not_count(case):
    name, side = case
    loss, compared = shipped("loss")[name]().double(), comparison("few classes", True, "cosine")
    weights = [torch.ones(compared.shape), torch.ones(compared.shape)]
    for one in weights if side == 2 else weights[side : side + 1]:
        one[3] = 0
    output = loss(compared, Pairs(compared.positive, compared.negative, *weights))
    assert output.rows[3] == 0
    assert not output.slopes(slice(3, 4)).slopes.any()
    # Similarities are at most 1, so no loss comes near this.
    assert output.rows.abs().max() < 1e4
