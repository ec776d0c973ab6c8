"""Gradient caching: a batch embedded in chunks, against the plain step of the batch and that of a single chunk."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.measuring import isolated, peak_extra, side_by_side
from benchmarks.table import Table, mebibytes, ratio, seconds

WORDS = ("loss=triplet", "miner=all", "backbone.weights=null", "backbone.freeze_batch_norm=true")
CLASSES, REPEATS = 64, 3


class Case(NamedTuple):
    """A step of training on uint8 images of this side; without a chunk, the plain step."""

    batch: int
    chunk: int | None
    side: int
    precision: torch.dtype = torch.float32


def run(quick: bool, data_dir: Path | None) -> None:
    """Time and memory of the two figures to reach."""
    compare(32, 8, 32) if quick else compare(1024, 32, 112)


def compare(batch: int, chunk: int, side: int, repeats: int = REPEATS) -> None:
    """Print a line for the plain step of the batch, that of a chunk, and the step in chunks."""
    value, gradient = agreement(Case(23, 7, 32, torch.float64))
    print(f"float64, batch 23 in chunks of 7 against at once: value to {value:.0e}, gradient to {gradient:.0e}")
    print(f"ResNet-18 with frozen batch norm at {side} px, float32, all triplets in {CLASSES} classes; forward and")
    print("backward from uint8 images")
    plain, chunks = Case(batch, None, side), Case(batch, chunk, side)
    sides = [worker(case) for case in (plain, chunks)]
    times = side_by_side(sides, seconds=0, at_least=repeats, at_most=repeats, warm_up=False)
    del sides
    print(f"s: {seconds(times[0])} at once, {seconds(times[1])} in chunks: {ratio(times[1], times[0])} (limit 1.5x)")
    stored = batch * 3 * side**2
    print("MiB: peak extra over the idle process, in a process of its own, without embeddings and features; the idle")
    print(f"process holds the uint8 batch, {mebibytes(stored)} of {batch:,} images, so that is not counted either")
    table, extra = Table([("step", 24), ("MiB", 8), ("embeddings", 10)]), []
    for case in (Case(chunk, None, side), chunks, plain):
        found, embedded = isolated(memory, case)
        extra.append(found)
        table.row([_name(case), mebibytes(found), mebibytes(embedded)])
    small, mine, whole = extra
    print(f"chunks: {mine / small:.2f}x of the plain step of {chunk} (limit 1.3x), {mine / whole:.2f}x of {batch:,}")


def _name(case: Case) -> str:
    return f"{case.batch:,} at once" if case.chunk is None else f"{case.batch:,} in chunks of {case.chunk}"


class Step:
    """A network with an objective and a batch of images for it, by whose step a run of these words would learn."""

    def __init__(self, case: Case, backbone: str = "resnet18") -> None:
        from benchmarks.comparing import built
        from metriscope.build.run import network_of
        from metriscope.config.compose import compose_config
        from metriscope.config.plain import plain
        from metriscope.data.inputs.augment import Augmentation
        from metriscope.training.chunks import Chunks

        torch.set_default_dtype(torch.float32)
        self.case = case
        config = plain(compose_config([*WORDS, f"backbone={backbone}"]))
        self.network = network_of(config, (3, case.side, case.side)).to(case.precision)
        self.objective = built(WORDS[:2], CLASSES).to(case.precision)
        self.augmentation = Augmentation("pad", pad=4, flip=True, mean=[0.5], std=[0.25])
        self.chunks = None if case.chunk is None else Chunks(case.chunk)
        generator = torch.Generator().manual_seed(0)
        shape = (case.batch, 3, case.side, case.side)
        self.images = torch.randint(256, shape, generator=generator, dtype=torch.uint8)
        self.labels = torch.arange(case.batch) % min(CLASSES, case.batch // 2)
        self.planned = self.augmentation.plan(self.images, torch.rand(case.batch, 3, generator=generator))

    def __call__(self, count: int | None = None) -> Tensor:
        """A forward and a backward pass, of the first ``count`` images; the value."""
        from metriscope.data.inputs.augment import Planned
        from metriscope.data.inputs.late import LateInputs
        from metriscope.objectives.samples import Spaces

        planned = Planned(*(tensor[:count] for tensor in self.planned))
        self.network.zero_grad()
        if self.chunks is None:
            embedding = self.network(self._converted(planned))
        else:
            embedding = self.chunks(self.network, LateInputs(planned, self._converted))
        spaces = Spaces.of(embedding.z, self.labels[:count], trunk=embedding.features)
        value: Tensor = self.objective(spaces).output.value
        value.backward()
        self.embedded = sum(output.numel() * output.element_size() for output in embedding)
        return value.detach()

    def _converted(self, planned: Tensor) -> Tensor:
        inputs: Tensor = self.augmentation(planned).to(self.case.precision)
        return inputs


def worker(case: Case) -> Callable[[], object]:
    """The step as a side to time; the network is made now, and memory for the graph in the step alone."""
    step = Step(case)
    step(min(case.batch, 2 * (case.chunk or 4)))
    return step


def memory(case: Case) -> tuple[int, int]:
    """Bytes at the peak of a step beyond the idle process, without embeddings and features, and bytes of these."""
    step = Step(case)
    # A small network of its own: gradients that the large one has freed would be used again without being seen.
    extra = peak_extra(step, Step(Case(8, case.chunk and 4, 32), "small_cnn"))
    return extra - step.embedded, step.embedded


def agreement(case: Case) -> tuple[float, float]:
    """The largest differences of value and gradient from those of the plain step.

    Raises:
        AssertionError: one of them is above 1e-9.
    """
    found = []
    for chunk in (case.chunk, None):
        step = Step(case._replace(chunk=chunk))
        value = step()
        gradients = [p.grad.flatten() for p in step.network.parameters() if p.grad is not None]
        found.append((value, torch.cat(gradients)))
    (mine, by_mine), (theirs, by_theirs) = found
    differences = float((mine - theirs).abs()), float((by_mine - by_theirs).abs().max())
    assert max(differences) <= 1e-9, differences
    return differences
