"""The row engine's work: blocks of anchors, their gradients, and what they come to."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from metriscope.errors import InputError
from metriscope.objectives.block import Block
from metriscope.objectives.chunks import count_rows, keep_freed_blocks
from metriscope.objectives.classes import listed
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.distances.base import Distance
from metriscope.objectives.kernels.gradient import Gradients, attach
from metriscope.objectives.kernels.mixed_columns import MixedColumns
from metriscope.objectives.kernels.rules import Inputs, Judged, Rows, Rule, check_slopes
from metriscope.objectives.kernels.sums import ByAnchor, RowSums, Total
from metriscope.objectives.output import PairSlopes
from metriscope.objectives.selection import Pairs, Selection, pairs_of

# Slopes of so few pairs, 1 MiB, cost more to compute twice than to hold until the step is over.
_HELD_PAIRS = 1 << 18


class _Found(NamedTuple):
    """What a block of anchors comes to; ``by_others`` holds, for each sum, its derivatives by the engine's others."""

    losses: Tensor
    active: Tensor | None
    slopes: Sequence[Tensor]
    by_others: Sequence[Sequence[Tensor | None]]


class Engine:
    """Applies a rule to the rows of a comparison; see :func:`metriscope.objectives.kernels.rows.over_rows`."""

    def __init__(
        self, comparison: Comparison, selection: Selection, rule: Rule, inputs: Inputs, per_pair: bool
    ) -> None:
        self.comparison, self.selection, self.rule, self.inputs = comparison, selection, rule, inputs
        self.per_pair = per_pair
        inputs.check()
        anchors, _ = comparison.prepared
        self.classes = comparison.classes if comparison.part is None else None
        self.class_sizes = torch.zeros(0) if self.classes is None else self.classes.sizes
        count, numbers, counts = len(anchors), anchors.detach(), comparison.anchors.labels
        self.losses = ByAnchor(count, numbers.new_zeros(0, rule.sums + rule.reported))
        self.sizes = ByAnchor(count, counts.new_zeros(0, 2, dtype=torch.int64))
        self.valid = ByAnchor(count, counts.new_zeros(0, 1, dtype=torch.bool))
        self.totals = Total(numbers.new_zeros(rule.sums, dtype=torch.float64))
        self.active = Total(counts.new_zeros(rule.counts, dtype=torch.int64))
        self.factors = None if self.comparison.weigh is None else anchors.new_zeros(len(anchors), 1)
        self.weighed = False
        self.wanted = False
        self.held: dict[int, tuple[list[Tensor], Tensor]] = {}
        columns = [x for x in (self.inputs.anchors, self.inputs.references) if x is not None]
        self.mixed = MixedColumns.of(selection, comparison, rule.of_distances)
        self.others: list[Tensor] = [*columns, *self.inputs.parameters]
        self.learned = [p for p in self.comparison.distance.parameters() if p.requires_grad]

    def in_blocks(self) -> RowSums:
        """One block of anchors after the other; those of other processes are theirs."""
        anchors, references = self.comparison.prepared
        mixed = [] if self.mixed is None else [self.mixed.values]
        targets = [*self.others, *self.learned, *mixed]
        gradients = [Gradients(anchors, references, targets) for _ in range(self.rule.sums)]
        differences = self.comparison.distance.pulls and self.comparison.distance.differences
        wanted = self.wanted = torch.is_grad_enabled() and any(x.requires_grad for x in gradients[0].targets)
        if anchors.device.type == "cpu" and not torch.compiler.is_compiling():
            keep_freed_blocks()
        with torch.no_grad(), torch.autocast(anchors.device.type, enabled=False):
            for block in self.comparison.blocks(self.comparison.own):
                values = self._values(block)
                found = self._judge(block, values)
                self._note(block.rows, found)
                if wanted:
                    if len(anchors) * len(references) <= _HELD_PAIRS:
                        pairs = values.shape[1]
                        self.held[block.rows.start] = [s[:, :pairs].clone() for s in found.slopes], values
                    for of_sum, slopes, by_others in zip(gradients, found.slopes, found.by_others, strict=True):
                        self._add(of_sum, block, slopes, by_others)
            found_here = [of_sum.known(differences) for of_sum in gradients] if wanted else []
            if self.comparison.own != slice(0, len(anchors)):
                self._join(found_here)
        totals = self.totals.value.unbind()
        if wanted:
            return self._result([attach(total, known) for total, known in zip(totals, found_here, strict=True)])
        return self._result([total.to(anchors.dtype) for total in totals])

    def _join(self, gradients: Sequence[Sequence[tuple[Tensor, Tensor]]]) -> None:
        """Adds what other processes have found for their anchors; here their places hold zeros."""
        ranks, of_factors = self.comparison.ranks, [] if self.factors is None else [self.factors]
        assert ranks is not None
        sums = ranks.add([self.losses.rows, self.totals.value, *of_factors], torch.float64)
        self.losses.rows, self.totals.value = sums[:2]
        self.factors = sums[2] if of_factors else None
        counts = ranks.add([self.sizes.rows, self.valid.rows, self.active.value], torch.int64)
        self.sizes.rows, self.valid.rows, self.active.value = counts
        for known in gradients:
            for target, gradient in known:
                if target.requires_grad:
                    ranks.add_(gradient)

    def at_once(self) -> RowSums:
        """The same from one matrix that is attached to the graph."""
        comparison = self.comparison
        block = comparison.block(slice(0, len(comparison.prepared[0])))
        matrix = comparison.distances if self.rule.of_distances else comparison.similarities
        if self.mixed is not None:
            matrix = self.mixed.beside(matrix[:, :0] if self.mixed.alone else matrix, block.rows)
        with torch.autocast(matrix.device.type, enabled=False):
            if self.rule.plain:
                view = self._view(block, matrix, self.inputs.anchors, self.inputs.references)
                judged = self._checked(self.rule.judge(view), view)
                losses = self._counted(judged, view)
                factors = self._factors_of(losses.detach(), block.rows)
                self._note(block.rows, _Found(losses.detach(), judged.active, (), ()))
                weighed = losses if factors is None else losses * factors
                return self._result(weighed.sum(0)[: self.rule.sums].unbind())
            with torch.no_grad():
                found = self._judge(block, self._values(block))
                self._note(block.rows, found)
        attached = []
        for total, slopes, by_others in zip(self.totals.value.unbind(), found.slopes, found.by_others, strict=True):
            known = [(x, by) for x, by in zip(self.others, by_others, strict=True) if by is not None]
            attached.append(attach(total, [(matrix, slopes), *known]))
        return self._result(attached)

    @torch.no_grad()
    def slopes(self, scales: Sequence[Tensor], rows: slice) -> PairSlopes:
        """As :attr:`RowSums.slopes`."""
        if self.rule.plain and torch.is_inference_mode_enabled():
            raise InputError("a formula has no slopes in torch.inference_mode(): use torch.no_grad()")
        self.wanted = True
        anchors, references = self.comparison.prepared
        start, stop, _ = rows.indices(len(anchors))
        rows = slice(start, max(start, stop))
        if rows.start == rows.stop:
            none = anchors.new_zeros(0, len(references))
            return PairSlopes(none, none if self.rule.of_distances else None)
        by_sums, values = self.held.get(rows.start, (None, None))
        if by_sums is None or values is None or len(values) != rows.stop - rows.start:
            block = self.comparison.block(rows)
            values = self._values(block)
            with torch.autocast(values.device.type, enabled=False):
                by_sums = list(self._judge(block, values).slopes)
        pairs = values.shape[1]
        first, *others = (s[:, :pairs] * scale.to(s.dtype) for s, scale in zip(by_sums, scales, strict=True))
        for other in others:
            first += other
        return PairSlopes(first, values if self.rule.of_distances else None)

    def _values(self, block: Block) -> Tensor:
        """Those of pairs of samples, (r, R), or (r, 0) where there are mixtures alone."""
        if self.mixed is not None and self.mixed.alone:
            return block.anchors.new_zeros(len(block.anchors), 0)
        return block.distances if self.rule.of_distances else block.similarities

    def _note(self, rows: slice, found: _Found) -> None:
        """Keeps what is asked for in the end."""
        self.losses.put(rows, found.losses)
        if found.active is not None:
            self.active.add(found.active.sum(0))
        losses = found.losses[:, : self.rule.sums] if self.rule.reported else found.losses
        losses = losses if self.factors is None else losses * self.factors[rows]
        self.totals.add(losses.sum(0, dtype=torch.float64))

    def _result(self, totals: Sequence[Tensor]) -> RowSums:
        self.weighed = True
        # A traced graph returns tensors alone.
        nothing = torch.compiler.is_compiling() or (self.mixed is not None and self.mixed.alone)
        slopes = None if nothing else self.slopes
        by_anchor = self.losses.rows, self.active.value, self.sizes.rows, self.valid.rows
        return RowSums(tuple(totals), *by_anchor, slopes)

    def _view(self, block: Block, values: Tensor, anchors: Tensor | None, references: Tensor | None) -> Rows:
        rows, mixed = block.rows, self.mixed
        pairs = pairs_of(self.selection, block) if mixed is None else mixed.pairs(self.selection, block)
        if pairs is None and self.classes is not None:
            sizes, find = self.class_sizes[rows], partial(self.classes.members, rows)
            positive, negative = self.classes.numbers(rows, values.dtype)
        else:
            pairs = Pairs(block.positive, block.negative) if pairs is None else pairs
            sizes = torch.stack([count_rows(pairs.positive), count_rows(pairs.negative)], 1)
            positive, negative = pairs.terms(values.dtype)
            find = partial(listed, pairs.positive)
        weighed = pairs is not None and pairs.weighed
        if mixed is not None:
            positive, negative, more = mixed.terms(rows, positive, negative)
            sizes, weighed, find = sizes + more, weighed or mixed.mixtures.weighed, partial(listed, positive > 0)
        if self.rule.complete:
            valid = (sizes > 0).all(1, keepdim=True)
            if weighed:
                # Pairs without weight are no pairs.
                valid = valid & (positive.sum(1, keepdim=True) > 0) & (negative.sum(1, keepdim=True) > 0)
            share = valid.to(values.dtype)
        else:
            valid = sizes.new_ones(len(values), 1, dtype=torch.bool)
            share = values.new_ones(len(values), 1)
        self.sizes.put(rows, sizes * valid if self.rule.complete else sizes)
        self.valid.put(rows, valid)
        return Rows(values, positive, negative, share, sizes, weighed, find, anchors, references)

    def _checked(self, found: Judged | Tensor, view: Rows) -> Judged:
        judged = found if isinstance(found, Judged) else Judged(found)
        wanted = (len(view.values), self.rule.sums + self.rule.reported)
        if not isinstance(judged.losses, Tensor) or judged.losses.shape != wanted:
            shape = tuple(judged.losses.shape) if isinstance(judged.losses, Tensor) else type(judged.losses).__name__
            raise InputError(f"{self._name} gives {shape} for {wanted[0]} anchors: it has to give losses {wanted}")
        return judged

    @property
    def _name(self) -> str:
        return getattr(self.rule.judge, "__qualname__", type(self.rule.judge).__name__)

    def _counted(self, judged: Judged, view: Rows) -> Tensor:
        """Losses, 0 for anchors that do not count."""
        return judged.losses * view.share if self.rule.complete else judged.losses

    def _factors_of(self, losses: Tensor, rows: slice) -> Tensor | None:
        """(r, 1), asked for once."""
        weigh, factors = self.comparison.weigh, self.factors
        if weigh is None or factors is None:
            return None
        if not self.weighed:
            costs = losses[:, :1]
            if self.per_pair:
                costs = costs / self.sizes.rows[rows, :1].clamp_min(1)
            factors[rows] = weigh(costs, self.comparison.anchors.index[rows])
        return factors[rows]

    def _judge(self, block: Block, values: Tensor) -> _Found:
        anchors = None if self.inputs.anchors is None else self.inputs.anchors[block.rows].detach()
        references = None if self.inputs.references is None else self.inputs.references.detach()
        if self.mixed is not None:
            values = self.mixed.beside(values, block.rows).detach()
        if self.rule.plain:
            return self._differentiated(block, values, anchors, references)
        view = self._view(block, values, anchors, references)
        judged = self._checked(self.rule.judge(view), view)
        if judged.slopes is None:
            raise InputError(f"{self._name} gives no slopes: say plain=True of a formula that is to be differentiated")
        check_slopes(judged.slopes, view, self.rule.sums, self._name)
        losses = self._counted(judged, view)
        factors, slopes, by_anchors = self._factors_of(losses, block.rows), judged.slopes, judged.by_anchors
        if factors is not None:
            slopes = tuple(of_sum.mul_(factors) for of_sum in slopes)
            by_anchors = None if by_anchors is None else by_anchors * factors
        by_others = [by_anchors, *[None] * len(self.others)][: len(self.others)]
        return _Found(losses, judged.active, slopes, [by_others] * self.rule.sums)

    def _differentiated(
        self, block: Block, values: Tensor, anchors: Tensor | None, references: Tensor | None
    ) -> _Found:
        if not self.wanted:
            view = self._view(block, values, anchors, references)
            judged = self._checked(self.rule.judge(view), view)
            losses = self._counted(judged, view)
            self._factors_of(losses, block.rows)
            return _Found(losses, judged.active, (), ())
        leaves = [x.detach().requires_grad_() for x in (values, anchors, references) if x is not None]
        with torch.enable_grad():
            inputs = iter(leaves[1:])
            own, every = (None if x is None else next(inputs) for x in (anchors, references))
            view = self._view(block, leaves[0], own, every)
            judged = self._checked(self.rule.judge(view), view)
            losses = self._counted(judged, view)
            factors = self._factors_of(losses.detach(), block.rows)
            sums = (losses if factors is None else losses * factors).sum(0)[: self.rule.sums].unbind()
        wanted = [*leaves, *self.inputs.parameters]
        slopes, by_others = [], []
        for k in range(self.rule.sums):
            found: Sequence[Tensor | None] = [None] * len(wanted)
            if sums[k].requires_grad:
                found = torch.autograd.grad(sums[k], wanted, retain_graph=k + 1 < self.rule.sums, allow_unused=True)
            # Autograd may give one number for many places, which nobody can change in place.
            slopes.append(torch.zeros_like(values) if found[0] is None else found[0].contiguous())
            by_others.append(found[1:])
        return _Found(losses.detach(), judged.active, slopes, by_others)

    def _add(self, of_sum: Gradients, block: Block, slopes: Tensor, by_others: Sequence[Tensor | None]) -> None:
        by_learned: Sequence[Tensor | None] = ()
        if self.mixed is not None:
            slopes = self.mixed.take(of_sum.others[-1], block.rows, slopes)
        if self.mixed is not None and self.mixed.alone:
            pass
        elif self.comparison.distance.pulls:
            of_sum.multiply(block, self._products(block, slopes), self.comparison.distance)
        else:
            by_anchors, by_references, *by_learned = self._pull(block, slopes)
            of_sum.anchors[block.rows] += 0 if by_anchors is None else by_anchors
            of_sum.references += 0 if by_references is None else by_references
        for place, by in enumerate([*by_others, *by_learned]):
            if by is not None:
                target, of_anchors = of_sum.others[place], place == 0 and self.inputs.anchors is not None
                (target[block.rows] if of_anchors else target).add_(by)

    def _products(self, block: Block, slopes: Tensor) -> Tensor:
        """Slopes of dot products; changes the given ones."""
        distance = self.comparison.distance
        if self.rule.of_distances:
            return distance.products(block.distances, slopes)
        if distance.multiplies:
            return slopes
        return distance.products(block.distances, distance.from_similarity_(slopes, block.distances))

    def _pull(self, block: Block, slopes: Tensor) -> Sequence[Tensor | None]:
        """The derivatives by prepared rows, and by what the distance learns."""
        distance, anchors, references = self.comparison.distance, block.anchors, block.references
        if not self.learned:
            if self.rule.of_distances:
                return distance.pull(anchors, references, block.distances, slopes)
            if type(distance).pull is not Distance.pull and not distance.multiplies:
                slopes = distance.from_similarity_(slopes.clone(), block.distances)
                return distance.pull(anchors, references, block.distances, slopes)
            return distance.pull_similarities(anchors, references, slopes)
        measure = distance.block if self.rule.of_distances else distance.similarities
        with torch.enable_grad():
            leaves = [anchors.detach().requires_grad_(), references.detach().requires_grad_(), *self.learned]
            return torch.autograd.grad(measure(*leaves[:2]), leaves, slopes, allow_unused=True)
