"""The state of the global generators that the layers of a network draw from."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


def random_state(device: torch.device) -> list[Tensor]:
    """The state of the CPU's generator and, where there is another one, of that of the current device of this type."""
    own = _generator_of(device)
    return [torch.get_rng_state()] if own is None else [torch.get_rng_state(), own.get_rng_state()]


def set_random_state(device: torch.device, state: Sequence[Tensor]) -> None:
    """Put back what :func:`random_state` gave."""
    torch.set_rng_state(state[0])
    own = _generator_of(device)
    if own is not None:
        own.set_rng_state(state[1])


def seed_random_state(device: torch.device, seed: int) -> None:
    """Seed the same generators.

    ``torch.manual_seed`` also queues a call, with its stack, for every kind of accelerator that is not in use, so that
    a run that seeds every step holds more memory after each.
    """
    torch.default_generator.manual_seed(seed)
    own = _generator_of(device)
    if own is not None:
        own.manual_seed(seed)


@contextmanager
def kept_random_state(device: torch.device) -> Iterator[None]:
    """Whatever is drawn within, the state is the same afterwards."""
    state = random_state(device)
    try:
        yield
    finally:
        set_random_state(device, state)


def _generator_of(device: torch.device) -> Any:
    """The module of torch with the generator of a device; None where the CPU's is the only one."""
    found = None if device.type == "cpu" else getattr(torch, device.type, None)
    return found if hasattr(found, "get_rng_state") else None
