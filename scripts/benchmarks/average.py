"""A step of training with a moving average of the weights beside one without, and beside that of torch."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from benchmarks.measuring import Times, side_by_side
from benchmarks.table import Table, milliseconds, ratio
from metriscope.models.network import Network

DECAY = 0.99
NETWORKS = {
    "mlp": ("backbone=mlp", (64,), 250),
    "small_cnn": ("backbone=small_cnn", (3, 32, 32), 128),
    "resnet18": ("backbone=resnet18", (3, 64, 64), 32),
}
"""Words of the backbone, shape of an input, and size of the batch."""
SIDES = ("none", "average", "torch")


def run(quick: bool, data_dir: Path | None) -> None:
    """Print the time of a step without an average, with ours and with that of torch, and the ratios."""
    seconds = 0.0 if quick else 3.0
    print("forward, backward and a step of SGD, the sides in turns")
    table = Table(
        [("network", 10), ("weights", 11), ("plain ms", 16), ("average ms", 16), ("cost", 7), ("torch's cost", 12)]
    )
    for name in ["mlp"] if quick else NETWORKS:
        weights, (plain, ours, torchs) = compared(name, seconds)
        times = [milliseconds(plain), milliseconds(ours), ratio(ours, plain), ratio(torchs, plain)]
        table.row([name, f"{weights:,}", *times])


def compared(name: str, seconds: float) -> tuple[int, list[Times]]:
    """How many weights the network has, and the times of the three sides.

    Raises:
        AssertionError: the averages differ.
    """
    networks = [network_of(name) for _ in SIDES]
    averages = [average_of(side, one) for side, one in zip(SIDES, networks, strict=True)]
    steps = [step(name, one, average[1]) for one, average in zip(networks, averages, strict=True)]
    for once in steps * 3:
        once()
    for ours, theirs in zip(averages[1][0].parameters(), averages[2][0].parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)
    return sum(weight.numel() for weight in networks[0].parameters()), side_by_side(steps, seconds=seconds)


def average_of(side: str, followed: Network) -> tuple[Network, Callable[[], None]]:
    """The averaged network, and what follows a step of the other one."""
    from metriscope.training.moving_average import MovingAverage

    if side == "none":
        return followed, lambda: None
    if side == "torch":
        theirs = AveragedModel(followed, multi_avg_fn=get_ema_multi_avg_fn(DECAY), use_buffers=True)
        return theirs.module, lambda: theirs.update_parameters(followed)
    ours, first = MovingAverage(followed, DECAY), iter([True])
    return ours.network, lambda: ours.update(followed, first=next(first, False))


def step(name: str, network: Network, follow: Callable[[], None]) -> Callable[[], Tensor]:
    """One step of training on a fixed batch."""
    _, shape, batch = NETWORKS[name]
    inputs = torch.randn(batch, *shape, generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)

    def once() -> Tensor:
        value: Tensor = network(inputs).raw.square().mean()
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        follow()
        return value.detach()

    return once


def network_of(name: str) -> Network:
    """The same initial values whenever it is asked for."""
    from metriscope.build import run
    from metriscope.config.compose import compose_config
    from metriscope.config.plain import plain

    words, shape, _ = NETWORKS[name]
    torch.manual_seed(0)
    return run.network_of(plain(compose_config([words])), shape)
