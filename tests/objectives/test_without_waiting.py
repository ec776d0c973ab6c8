"""Every combination of loss, miner, memory and weighting on devices that hold no numbers.

Tensors of torch's FakeTensorMode on ``cuda`` need no GPU: shapes and devices are checked, and whoever asks for a number
fails. They have no backward pass; that runs on ``meta``.
"""

import traceback
from contextlib import nullcontext
from functools import cache

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from metriscope.build.objective import build_objective
from metriscope.config.files import section
from metriscope.config.objective import fitting_miners, shipped
from metriscope.objectives import chunks
from metriscope.objectives.miners import sampled
from metriscope.objectives.samples import Moment, Spaces

LOSSES, MINERS, WEIGHTINGS = (shipped(group) for group in ("loss", "miner", "weighting"))
REFERENCES, MIXTURES = (shipped(group) for group in ("references", "mixture"))
N, SIZE, FEATURES, CLASSES, NUMBER = 18, 8, 5, 5, 50
# Their docstrings say why the host has to wait: everybody else fails by asking for a number.
LISTING = {"angular"}
"""Miners whose list has a length that nobody knows before."""
ONCE = {"distance_weighted", "groco", "metrix", "smooth_ap", "soft_margin_triplet"}
"""Parts for each of which the host waits once for one number, in a batch of this size."""


def combinations():
    """Loss, miner, size of the memory and weighting, all that fit."""
    for loss, part in LOSSES.items():
        weightings = [name for name, one in WEIGHTINGS.items() if one.weighs <= part.weighable]
        for miner in fitting_miners(part.accepts) or ["all"]:
            yield loss, miner, [(size, name) for name in ("none", *weightings) for size in (0, 30)]


EVERY = list(combinations())
assert len(EVERY) > 300


@cache
def read(group, name):
    """The section of a part; what another section would say is the default of the class."""
    found = section(group, name)
    keys = [key for key in found if "${" not in str(found._get_node(key)._value())]
    return {key: found[key] for key in keys}


def objective(loss, miner, size, weighting, references="none", mixture="none", across=None, **keys):
    sections = {"loss": read("loss", loss), "miner": read("miner", miner), "distance": read("distance", "euclidean")}
    sections["memory"] = {**read("memory", "xbm"), "size": size, "warmup_steps": 0} if size else {}
    sections["weighting"], sections["references"] = read("weighting", weighting), read("references", references)
    sections["mixture"], sections["pairs_across"] = read("mixture", mixture), across
    sections["miner"] = {**sections["miner"], **keys}
    sizes = {"embedding": SIZE, "trunk": FEATURES}
    return build_objective(sections, num_classes=CLASSES, sizes=sizes, num_samples=NUMBER, seed=0)


def step(built, device, learns):
    """A training step up to its value."""
    z = torch.empty(N, SIZE, device=device, requires_grad=learns)
    labels, index, side = (torch.zeros(N, dtype=torch.int64, device=device) for _ in range(3))
    features = torch.empty(N, FEATURES, device=device)
    moment = Moment(9, 40, 0.9, torch.Generator().manual_seed(0))
    output = built(Spaces.of(z, labels, index, trunk=features, side=side), moment).output
    tensors = [output.value, output.terms, output.active, output.rows, *output.parts.values()]
    assert {one.device.type for one in tensors if one is not None} == {device}
    return z, output.value


def hold(device, loss, miner, size, weighting, waits, references="none", mixture="none", **keys):
    """The step waits for nothing but what is named, and gives a value (on ``meta``: and a gradient)."""
    built, before = objective(loss, miner, size, weighting, references, mixture, **keys), len(waits)
    try:
        if device == "cuda":
            with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
                step(built.to(device), device, learns=False)
        else:
            z, value = step(built.to(device), device, learns=True)
            value.backward()
            assert z.grad is not None
    except Exception as error:
        own = [frame for frame in traceback.extract_tb(error.__traceback__) if "metriscope" in frame.filename]
        at = f"{own[-1].filename}:{own[-1].lineno}: {type(error).__name__}: {error}" if own else str(error)
        listed = miner in LISTING and bool(own) and own[-1].filename.endswith(f"{miner}.py")
        assert listed, f"miner={miner}: {at}"
        return
    assert miner not in LISTING, f"{miner} waits no longer: take its name off"
    count = len(waits) - before
    assert count <= len(ONCE & {loss, miner, mixture}), f"{loss} with {miner} and {mixture} waits {count} times"


@pytest.fixture
def waits(monkeypatch):
    """What the host has waited for, by its one door."""
    seen = []

    def awaited(number):
        seen.append(number)
        return 4

    for module in (chunks, sampled):
        monkeypatch.setattr(module, "awaited", awaited)
    real = torch.autocast
    # Torch has no autocast on meta.
    monkeypatch.setattr(
        torch, "autocast", lambda kind, *a, **k: nullcontext() if kind == "meta" else real(kind, *a, **k)
    )
    return seen


devices = pytest.mark.parametrize("device", ["cuda", "meta"])


@devices
@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_waits_for_nothing(device, loss, waits):
    """With its first miner alone, with its last one, a memory and the last weighting that it takes."""
    own = [one for one in EVERY if one[0] == loss]
    hold(device, loss, own[0][1], 0, "none", waits)
    hold(device, loss, own[-1][1], *own[-1][2][-1], waits)


@devices
@pytest.mark.parametrize("miner", MINERS)
def test_every_miner_waits_for_nothing(device, miner, waits):
    loss, _, others = next(one for one in EVERY if one[1] == miner)
    hold(device, loss, miner, *others[-1], waits)


@devices
@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_every_weighting_waits_for_nothing(device, weighting, waits):
    found = [(loss, miner) for loss, miner, others in EVERY if (30, weighting) in others]
    hold(device, *found[0], 30, weighting, waits)


@devices
@pytest.mark.parametrize("references", REFERENCES)
def test_all_references_wait_for_nothing(device, references, waits):
    hold(device, "infonce", "all", 30, "soft_negative", waits, references)
    hold(device, "n_pair", "none", 0, "none", waits, references)
    hold(device, "triplet", "batch_hard", 30, "none", waits, references, stand_ins=True)


@devices
@pytest.mark.parametrize("mixture", MIXTURES)
@pytest.mark.parametrize("loss", ["infonce", "contrastive"])
def test_every_mixture_waits_for_nothing(device, mixture, loss, waits):
    hold(device, loss, "all", 0, "none", waits, mixture=mixture)
    hold(device, loss, "multi_similarity", 30, "none", waits, mixture=mixture)


@devices
def test_pairs_across_wait_for_nothing(device, waits):
    for across in ("other", "same"):
        for loss, miner, size in (
            ("triplet", "all", 30), ("triplet", "hdc", 0), ("supcon", "all", 0), ("instance", "none", 0),
            ("n_pair", "none", 30), ("contrastive", "whisker", 0),
        ):  # fmt: skip
            hold(device, loss, miner, size, "none", waits, across=across)
        hold(device, "triplet", "batch_hard", 0, "none", waits, "embedding_expansion", across=across, stand_ins=True)


@pytest.mark.processes
@devices
@pytest.mark.parametrize("loss", LOSSES)
def test_every_combination_waits_for_nothing(device, loss, waits):
    for _, miner, others in (one for one in EVERY if one[0] == loss):
        for size, weighting in others:
            hold(device, loss, miner, size, weighting, waits)
