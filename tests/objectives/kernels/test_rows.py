"""The row engine: what it finds depends on no size of a block and on no split of the anchors; what it refuses."""

import re

import pytest
import torch
from combinations import every
from oracles import DISTANCES
from row_rules import CASES, B, Case, R, agree, batch_and_memory, counted, numbers, run

from metriscope.errors import InputError
from metriscope.losses import NCALoss
from metriscope.objectives.comparison import Comparison, Segment
from metriscope.objectives.kernels.rows import over_rows
from metriscope.objectives.kernels.rules import Inputs, Judged, Rule
from metriscope.objectives.losses.row_loss import RowLoss
from metriscope.objectives.samples import Samples
from metriscope.objectives.selection import Pairs, RowPairs, TripletBand, Triplets

WEIGHTS = numbers(B, 1, 9).detach()


def by_index(losses, index):
    return WEIGHTS[index]


def by_loss(losses, index):
    return losses.square()


def some(comparison):
    kept = torch.rand(B, R, generator=torch.Generator().manual_seed(5)) < 0.6
    return Pairs(comparison.positive & kept, comparison.negative & kept)


def triplets(comparison):
    entries = [(a, p, n) for a, p in comparison.positive.nonzero().tolist() for n in range(a, R, 3)]
    a, p, n = (torch.tensor(column) for column in zip(*entries, strict=True))
    return Triplets(a, p, n, comparison.negative[a, n])


def weighed(comparison):
    return Pairs(comparison.positive, comparison.negative, numbers(B, R, 3).detach(), numbers(B, R, 4).detach())


SELECTIONS = {
    "all": lambda comparison: TripletBand(),
    "pairs": some,
    "pairs of a band": lambda comparison: TripletBand(pairs=some(comparison)),
    "pairs of rows": lambda comparison: RowPairs(lambda block: some(comparison).at(block.rows)),
    "triplets": triplets,
    "weighed pairs": weighed,
}


def least_budget():
    """For blocks of one anchor, found by halving."""
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        try:
            over_rows(batch_and_memory(memory_mb=middle)[0], TripletBand(), CASES["plain"].rule)
            high = middle
        except InputError:
            low = middle
    return high


BUDGET = least_budget()


@every(case=CASES, rows=(1, 3), weigh=(None, by_index, by_loss))
def test_blocks_of_any_size(case, rows, weigh):
    case, sizes = counted(case)
    whole, leaves = batch_and_memory(weigh=weigh)
    wanted = run(case, whole, [*leaves, *case.leaves])
    assert sizes == [B]
    sizes.clear()
    blocks, leaves = batch_and_memory(memory_mb=rows * BUDGET, weigh=weigh)
    agree(run(case, blocks, [*leaves, *case.leaves]), wanted)
    assert sizes == [rows] * (B // rows) + [1] * (B % rows)


@every(case=CASES, rows=(1, 4))
def test_blocks_of_a_batch_compared_with_itself(case, rows):
    """Anchors and references are one tensor, so that gradients of both go into one."""
    case = case.beside(B)
    whole, leaves = batch_and_memory(memory=False)
    blocks, of_blocks = batch_and_memory(memory=False, memory_mb=rows * BUDGET * B / R)
    assert whole.prepared[0] is whole.prepared[1]
    agree(run(case, blocks, [*of_blocks, *case.leaves]), run(case, whole, [*leaves, *case.leaves]))


@every(case=CASES, memory_mb=(None, 3 * BUDGET))
def test_the_factor_of_an_anchor_multiplies_all_that_it_adds(case, memory_mb):
    weighed, leaves = batch_and_memory(memory_mb=memory_mb, weigh=by_index)
    leaves += case.leaves
    found = run(case, weighed, leaves)
    plain, leaves[:2] = batch_and_memory()
    alone = [slice(a, a + 1) for a in range(B)]
    parts = [run(case.at(anchor), plain.only(anchor), leaves) for anchor in alone]
    for name, value in found.items():
        if name.startswith(("total", "gradient")):
            wanted = sum(weight * part[name] for weight, part in zip(WEIGHTS.squeeze(1), parts, strict=True))
            torch.testing.assert_close(value, wanted, rtol=1e-12, atol=1e-12)
    agree({"losses": found["losses"]}, {"losses": torch.cat([part["losses"] for part in parts])})


@every(name=("by hand, of similarities", "plain", "everything, plain"))
def test_factors_are_asked_for_once(name):
    asked = []

    def weigh(losses, index):
        asked.extend(index.tolist())
        return torch.full_like(losses, float(len(asked)))

    case = CASES[name]
    comparison, _ = batch_and_memory(memory_mb=4 * BUDGET, weigh=weigh)
    found = over_rows(comparison, TripletBand(), case.rule, case.inputs)
    scales = [torch.ones(())] * case.rule.sums
    one, other = (found.slopes(scales, slice(3, 9)).slopes for _ in range(2))
    assert asked == list(range(B))
    assert torch.equal(one, other)


@every(select=SELECTIONS, distance=tuple(DISTANCES))
def test_blocks_of_selections(select, distance):
    for name in ("by hand, of similarities", "two sums by hand", "by hand, of listed positives", "plain"):
        whole, leaves = batch_and_memory(distance)
        wanted = run(CASES[name], whole, leaves, select(whole))
        blocks, leaves = batch_and_memory(distance, memory_mb=3 * BUDGET)
        agree(run(CASES[name], blocks, leaves, select(blocks)), wanted)


@every(case=CASES, ends=((4,), (0, 3, 3, 9), tuple(range(1, B))), weigh=(None, by_index, by_loss))
def test_ranges_of_anchors_add_up(case, ends, weigh):
    whole, leaves = batch_and_memory(weigh=weigh)
    leaves += case.leaves
    wanted = run(case, whole, leaves)
    shares = [slice(start, stop) for start, stop in zip((0, *ends), (*ends, B), strict=True)]
    parts = [run(case.at(share), whole.only(share), leaves) for share in shares]
    found = {}
    for name in wanted:
        of_parts = [part[name] for part in parts]
        found[name] = torch.cat(of_parts) if name in ("losses", "sizes", "valid") else sum(of_parts)
    agree(found, wanted)


@every(select={name: one for name, one in SELECTIONS.items() if name != "pairs of rows"})
def test_ranges_of_anchors_with_their_part_of_a_selection(select):
    for name in ("by hand, of listed positives", "two sums by hand"):
        whole, leaves = batch_and_memory("cosine")
        selected = select(whole)
        wanted = run(CASES[name], whole, leaves, selected)
        shares = (slice(0, 3), slice(3, 4), slice(4, B))
        parts = [run(CASES[name], whole.only(share), leaves, selected.at(share)) for share in shares]
        for key, value in wanted.items():
            if not key.startswith(("losses", "sizes", "valid")):
                agree({key: sum(part[key] for part in parts)}, {key: value})


def of_size(references, memory_mb):
    batch = Samples.of(torch.eye(2), torch.tensor([0, 1]))
    further = Samples.of(torch.ones(references, 2), torch.zeros(references, dtype=torch.int64))
    return Comparison(batch, [Segment(batch), Segment(further)], DISTANCES["cosine"](), memory_mb=memory_mb)


def test_a_budget_that_holds_no_row_is_refused_in_one_line():
    line = r"^loss_memory_mb=0\.0001 does not hold one sample with its 17 references: set it to at least 0\.002$"
    for name in ("plain", "by hand, of distances"):
        comparison, _ = batch_and_memory(memory_mb=1e-4)
        with pytest.raises(InputError, match=line):
            over_rows(comparison, TripletBand(), CASES[name].rule)


@every(references=(*range(1, 60), 5000))
def test_the_budget_that_the_line_asks_for_is_enough(references):
    with pytest.raises(InputError) as error:
        over_rows(of_size(references, 1e-9), TripletBand(), CASES["plain"].rule)
    least = float(re.search(r"at least (\S+)$", str(error.value))[1])
    over_rows(of_size(references, least), TripletBand(), CASES["plain"].rule)


class Wrong(RowLoss):
    """A loss whose formula gives what it is given."""

    def __init__(self, made):
        super().__init__()
        self.made = made

    def formula(self, rows):
        return self.made(rows)


SHAPES = {
    "(10,)": lambda rows: rows.values.sum(1),
    "(10, 17)": lambda rows: rows.values,
    "(10, 2)": lambda rows: rows.values[:, :2],
    "()": lambda rows: rows.values.sum(),
    "(1, 1)": lambda rows: rows.values.sum().view(1, 1),
    "float": lambda rows: 1.0,
    "NoneType": lambda rows: None,
    "tuple": lambda rows: (rows.values, rows.values),
}


@every(shown=SHAPES)
def test_losses_of_another_shape_are_refused_in_one_line(shown):
    comparison, _ = batch_and_memory()
    wanted = next(key for key, value in SHAPES.items() if value is shown)
    line = rf"^Wrong\.formula gives {re.escape(wanted)} for 10 anchors: it has to give losses \(10, 1\)$"
    with pytest.raises(InputError, match=line):
        Wrong(shown)(comparison, TripletBand())


def test_a_rule_by_hand_is_named_too():
    def three_sums(rows):
        return Judged(rows.values[:, :3], (rows.values,))

    comparison, _ = batch_and_memory()
    with pytest.raises(
        InputError, match=r"three_sums gives \(10, 3\) for 10 anchors: it has to give losses \(10, 2\)$"
    ):
        over_rows(comparison, TripletBand(), Rule(three_sums, reported=1))
    with pytest.raises(InputError, match="gives no slopes: say plain=True of a formula"):
        over_rows(comparison, TripletBand(), Rule(NCALoss().formula))


@every(case=CASES)
def test_anchors_without_a_negative_hold_zeros_where_they_do_not_count(case):
    comparison, leaves = batch_and_memory()
    left_out = torch.arange(B).unsqueeze(1) < 4
    found = run(case, comparison, leaves, Pairs(comparison.positive, comparison.negative & ~left_out))
    assert torch.equal(found["valid"], ~left_out if case.rule.complete else torch.ones(B, 1, dtype=torch.bool))
    sizes = torch.stack([mask.sum(1) for mask in (comparison.positive, comparison.negative)], 1)
    assert torch.equal(found["sizes"][4:], sizes[4:])
    assert not found["sizes"][:4, 1].any()
    assert found["sizes"][:4, 0].any() != case.rule.complete
    if case.rule.complete:
        assert not found["losses"][:4].any()


def test_losses_that_depend_on_no_pair_have_no_slopes():
    comparison, leaves = batch_and_memory()
    ones = Case(Rule(lambda rows: rows.values.new_ones(len(rows.values), 1), plain=True))
    found = run(ones, comparison, leaves)
    assert found["total 0"] == found["valid"].sum()
    assert not found["gradient 0, 0"].any()


def test_slopes_of_no_anchor_are_none():
    comparison, _ = batch_and_memory()
    for case in (CASES["plain"], CASES["by hand, of distances"]):
        found = over_rows(comparison, TripletBand(), case.rule)
        scale = [torch.ones(())] * case.rule.sums
        for rows in (slice(0, 0), slice(3, 3), slice(B, None)):
            slopes, distances = found.slopes(scale, rows)
            assert slopes.shape == (0, R)
            assert distances is None or distances.shape == (0, R)
        whole, _ = found.slopes(scale, slice(None))
        assert torch.equal(whole, found.slopes(scale, slice(0, B)).slopes)


@pytest.mark.parametrize("name", ["anchors", "references"])
def test_inputs_of_whole_numbers_are_refused_in_one_line(name):
    comparison, _ = batch_and_memory()
    inputs = Inputs(**{name: torch.ones(B if name == "anchors" else R, 1, dtype=torch.int64)})
    with pytest.raises(InputError, match=rf"^Inputs\.{name} are of torch\.int64: give numbers of floating point"):
        over_rows(comparison, TripletBand(), CASES["plain"].rule, inputs)


SHARED = {
    "the values": lambda rows: (rows.values, rows.values.clone()),
    "the positives": lambda rows: (rows.positive, rows.values.clone()),
    "the negatives": lambda rows: (rows.values.clone(), rows.negative),
    "one tensor twice": lambda rows: (rows.values.clone(),) * 2,
}


@every(slopes=SHARED)
def test_slopes_that_the_engine_must_not_change_are_refused_in_one_line(slopes):
    def shared(rows):
        given = slopes(rows)
        return Judged(torch.zeros(len(rows.values), 2), given)

    comparison, _ = batch_and_memory()
    with pytest.raises(InputError, match=r"shared gives one tensor twice, or what it was given, as slopes: give"):
        over_rows(comparison, TripletBand(), Rule(shared, sums=2))


def test_slopes_of_another_number_or_shape_are_refused_in_one_line():
    comparison, _ = batch_and_memory()
    for given in (lambda rows: (rows.values.clone(),), lambda rows: (rows.values.clone(), rows.values[:, :1].clone())):

        def short(rows, given=given):
            return Judged(torch.zeros(len(rows.values), 2), given(rows))

        with pytest.raises(
            InputError, match=r"short gives slopes \(10, 17\).*: it has to give 2 of \(10, 17\), one for"
        ):
            over_rows(comparison, TripletBand(), Rule(short, sums=2))
