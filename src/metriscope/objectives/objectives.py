"""A weighted sum of objectives over one batch."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn

from metriscope.errors import InputError
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.distributed import gather, is_distributed, ranks_of
from metriscope.objectives.objective import Objective, Step
from metriscope.objectives.output import Account, LossOutput
from metriscope.objectives.samples import Moment, Spaces
from metriscope.objectives.selection import Selection
from metriscope.seeds import generator


class Objectives(nn.Module):
    """sum_k weight_k * objective_k over the same batch.

    Objectives with the same space, the same distance and the same references (one module each) share one comparison,
    and with the same miner one selection as well. The first objective draws from the generator of the step; each
    further one that selects for itself draws from a stream of its own, by its position.

    ``active`` and ``terms`` are the sums over the objectives. The parts ``loss_<k>`` and ``active_ratio_<k>`` report
    each of them (k from 0, in the order given).

    Args:
        objectives: at least one.
        weights: one factor for each, at least 0.

    Raises:
        InputError: no objective, not one weight for each, or a weight below 0.
    """

    def __init__(self, objectives: Sequence[Objective], weights: Sequence[float]) -> None:
        super().__init__()
        if not objectives or len(objectives) != len(weights):
            raise InputError(f"{len(objectives)} objectives and {len(weights)} weights: give one weight for each")
        if not all(0 <= weight < math.inf for weight in weights):
            raise InputError(f"weights={list(weights)}: they have to be numbers of at least 0")
        self.objectives = nn.ModuleList(objectives)
        self.weights = tuple(weights)

    def __iter__(self) -> Iterator[Objective]:
        """The objectives in the order given."""
        return (one for one in self.objectives if isinstance(one, Objective))

    @property
    def spaces(self) -> set[str]:
        """The outputs of the network that are compared."""
        return set().union(*(objective.spaces for objective in self))

    @property
    def hinge(self) -> bool:
        """Whether terms without loss have no weight at all, in every objective."""
        return all(objective.hinge for objective in self)

    @property
    def bound_to_classes(self) -> bool:
        """Whether the value of some objective on other classes than those of the training has no meaning."""
        return any(objective.bound_to_classes for objective in self)

    def forward(self, batch: Spaces, moment: Moment | None = None) -> Step:
        """A batch -> :class:`Step`; in training, over the batches of all processes."""
        ranks = None
        if self.training and is_distributed():
            batch, ranks = gather(batch, self.spaces), ranks_of(self)
        moment = moment or Moment()
        comparisons: dict[Any, Comparison] = {}
        selections: dict[Any, Selection] = {}
        accounts: list[Account] = []
        for place, objective in enumerate(self):
            shared = (
                objective.space, objective.affinity, objective.pairs_across, objective.distance, *objective.references
            )  # fmt: skip
            if shared not in comparisons:
                samples = batch.samples(objective.space, objective.affinity)
                comparisons[shared] = objective.compare(samples, moment, ranks)
            comparison, key = comparisons[shared], (*shared, objective.miner)
            comparison.moment = _moment_of(place, moment)
            if key not in selections:
                selections[key] = objective.select(comparison)
            account = objective.judge(comparison, selections[key])
            accounts.append(account._replace(weight=self.weights[place]))
        if self.training:
            self._observe(accounts, moment)
        return Step(self._sum(accounts), tuple(accounts))

    def _observe(self, accounts: Sequence[Account], moment: Moment) -> None:
        """Let every part learn once."""
        done: set[nn.Module] = set()
        for objective, account in zip(self, accounts, strict=True):
            for part in objective.learners():
                if part not in done:
                    part.observe(account, moment)
                    done.add(part)

    def _sum(self, accounts: Sequence[Account]) -> LossOutput:
        outputs = [account.output for account in accounts]
        value = torch.stack([w * o.value for w, o in zip(self.weights, outputs, strict=True)]).sum()
        parts = {}
        for k, output in enumerate(outputs):
            parts[f"loss_{k}"] = output.value.detach()
            if output.active is not None:
                parts[f"active_ratio_{k}"] = output.active / output.terms.clamp_min(1)
        actives = [output.active for output in outputs if output.active is not None]
        return LossOutput(
            value,
            torch.stack(actives).sum() if len(actives) == len(outputs) else None,
            torch.stack([output.terms for output in outputs]).sum(),
            parts,
            # Pair weights are read from the distances where any objective uses them.
            None if any(account.compares for account in accounts) else outputs[0].similarities,
        )


def _moment_of(place: int, moment: Moment) -> Moment:
    if not place or moment.generator is None:
        return moment
    return moment._replace(generator=generator(moment.generator.initial_seed(), "objective", place))
