"""Mixtures beside the plain step: forward and backward of a small network, and of the objective alone."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.comparing import built
from benchmarks.measuring import Times, side_by_side
from benchmarks.table import Table, milliseconds, ratio

CLASSES, EACH, SIDE = 32, 4, 32
# An epoch in which everything is mixed.
_LATE = 1000
MIXTURES = {"mochi": "limit 1.3x", "metrix": "limit 1.5x", "supremix": ""}
LOSSES = (("loss=infonce",), ("loss=multi_similarity",), ("loss=contrastive", "loss.reduction=mean_active"))


def run(quick: bool, data_dir: Path | None) -> None:
    """Print the time of a step with each mixture and without, and their ratio."""
    classes, seconds = (4, 0.0) if quick else (CLASSES, 3.0)
    print(f"small_cnn, {SIDE} px, batch {classes} x {EACH}; forward and backward, the sides in turns")
    table = Table(
        [("loss", 18), ("mixture", 9), ("plain ms", 16), ("mixed ms", 16), ("cost", 7), ("of objective", 12), ("", 11)],
        names=2,
    )
    for words in LOSSES:
        for name, limit in MIXTURES.items():
            whole, judged = (compared(words, name, classes, seconds, network) for network in (True, False))
            times = [milliseconds(whole[0]), milliseconds(whole[1]), ratio(whole[1], whole[0])]
            table.row([words[0].partition("=")[2], name, *times, ratio(judged[1], judged[0]), limit])


def compared(words: tuple[str, ...], mixture: str, classes: int, seconds: float, network: bool) -> list[Times]:
    """The times of the plain step and of that with the mixture."""
    steps = [step(chosen, classes, network) for chosen in (words, (*words, f"mixture={mixture}"))]
    return side_by_side(steps, seconds=seconds)


def step(words: tuple[str, ...], classes: int, network: bool) -> Callable[[], Tensor]:
    """A forward and a backward pass of a run of these words; of the objective alone, without the network."""
    from metriscope.objectives.samples import Moment, Spaces
    from metriscope.unit import unit_rows

    embedder = _network() if network else None
    objective = built((*words, "miner=all"), classes)
    labels = torch.arange(classes * EACH) // EACH
    source = torch.Generator().manual_seed(0)
    images = torch.randn(len(labels), 3, SIDE, SIDE, generator=source)
    raw = torch.randn(len(labels), 128, generator=source).requires_grad_()

    def once() -> Tensor:
        z = unit_rows(raw) if embedder is None else embedder(images).z
        moment = Moment(_LATE, generator=torch.Generator().manual_seed(1))
        value: Tensor = objective(Spaces.of(z, labels), moment).output.value
        value.backward()
        return value.detach()

    return once


def _network() -> nn.Module:
    """The same initial values whenever it is asked for."""
    from metriscope.build.run import network_of

    torch.manual_seed(0)
    return network_of(_config(), (3, SIDE, SIDE))


@cache
def _config() -> dict[str, Any]:
    from metriscope.config.compose import compose_config
    from metriscope.config.plain import plain

    return plain(compose_config(["backbone=small_cnn"]))
