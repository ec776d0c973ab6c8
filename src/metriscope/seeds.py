"""Random seeds and generators that depend only on (seed, purpose, coordinates), not on the process's history."""

import hashlib

import torch


def derive(seed: int, stream: str, *coordinates: int) -> int:
    """A 63-bit seed for one purpose at one point of a run.

    Args:
        seed: the run's seed.
        stream: the purpose of the numbers, such as ``"sampler"``; streams are independent of each other.
        coordinates: the place in the run, such as epoch, step and rank.
    """
    text = ":".join([str(seed), stream, *map(str, coordinates)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(seed: int, stream: str, *coordinates: int) -> torch.Generator:
    """A CPU generator seeded by :func:`derive`."""
    return torch.Generator().manual_seed(derive(seed, stream, *coordinates))
