"""Every shipped loss, miner and distance judges its own arguments, from Python and from a config alike."""

import glob
import math
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import pytest
import torch
import yaml
from oracles import compare, embeddings
from pydantic import Field
from tiny_runs import COMPOSER

from metriscope.config.files import choices, section
from metriscope.config.plain import plain
from metriscope.errors import InputError
from metriscope.losses import AngularLoss
from metriscope.objectives.references.memory import CrossBatchMemory
from metriscope.objectives.selection import TripletBand
from metriscope.parts import arguments_of, check_section, locate

SIZES = {"num_classes": 3, "embedding_size": 8, "num_samples": 5}
SHIPPED = [
    (group, choice)
    for group in ("loss", "miner", "distance")
    for choice in choices(group)
    if "_target_" in section(group, choice)
]
every_part = pytest.mark.parametrize(("group", "choice"), SHIPPED, ids=["=".join(part) for part in SHIPPED])


class Shipped(NamedTuple):
    group: str
    section: Mapping[str, Any]
    part: Any
    sizes: Mapping[str, int]
    hints: Mapping[str, Any]


@cache
def shipped(group: str, choice: str) -> Shipped:
    content = plain(COMPOSER([f"{group}={choice}"]))[group]
    part = locate(content["_target_"])
    sizes = {key: value for key, value in SIZES.items() if key in arguments_of(part) and group == "loss"}
    return Shipped(group, content, part, sizes, arguments_of(part))


def members(hint: Any) -> list[Any]:
    """The types that an annotation allows, without None."""
    union = get_origin(hint) in (Union, UnionType)
    return [one for one in get_args(hint) if one is not type(None)] if union else [hint]


def base(hint: Any) -> Any:
    return get_args(hint)[0] if hasattr(hint, "__metadata__") else hint


def limits(hint: Any) -> dict[str, float]:
    """What ``Field`` says of a number, such as {"ge": 0}."""
    rules = [rule for field in getattr(hint, "__metadata__", ()) for rule in (field, *getattr(field, "metadata", ()))]
    return {key: getattr(rule, key) for rule in rules for key in ("ge", "gt", "le", "lt") if hasattr(rule, key)}


def beyond(hint: Any) -> list[float]:
    """Numbers of the type of ``hint`` that lie just outside of its limits, and far."""
    whole = base(hint) is int
    found: list[float] = []
    for key, limit in limits(hint).items():
        way = -1 if key in ("ge", "gt") else 1
        if key in ("gt", "lt"):
            found.append(limit)
        else:
            found.append(limit + way if whole else math.nextafter(limit, way * math.inf))
        found.append(limit + way * 1000)
    return found


def wrong(hint: Any) -> list[Any]:
    """Values that an annotation excludes."""
    values: list[Any] = [object()]
    for one in members(hint):
        kind = base(one)
        values += beyond(one)
        if kind is bool:
            values += ["no", 1, "false"]
        elif kind in (int, float):
            values += [math.nan, math.inf, -math.inf, True, "1"]
            values += [1.5] if kind is int else []
        elif get_origin(kind) is Literal:
            values += ["no such word", True]
        elif get_origin(kind) is Sequence:
            values += ["12", [math.nan, 1.0], [0.1, math.inf], *([value] for value in beyond(get_args(kind)[0]))]
        elif kind is str or get_origin(kind) is Mapping:
            values += [1]
        else:
            pytest.fail(f"no wrong values are known for {one}")
    return values


def refused(of: Shipped, **changes: Any) -> str:
    """The line with which a part refuses arguments, the same from Python and, behind its group, from a config."""
    changed = {**of.section, **changes}
    arguments = {key: value for key, value in changed.items() if key in of.hints}
    lines = []
    for call in (
        lambda: of.part(**arguments, **of.sizes),
        lambda: check_section(changed, of.group, of.sizes),
    ):
        with pytest.raises(InputError) as caught:
            call()
        lines.append(str(caught.value))
    assert lines[1] == f"{of.group}.{lines[0]}"
    assert "\n" not in lines[0]
    return lines[0]


@every_part
def test_every_argument_is_annotated_and_has_a_key(group, choice):
    of = shipped(group, choice)
    assert [key for key, hint in of.hints.items() if hint is Any] == []
    assert set(of.hints) - set(of.sizes) == set(of.section) - {"_target_", *({"name"} - set(of.hints))}


@every_part
def test_the_shipped_config_passes(group, choice):
    of = shipped(group, choice)
    assert check_section(of.section, group, of.sizes) is of.part


@every_part
def test_what_an_annotation_excludes_is_refused(group, choice):
    of = shipped(group, choice)
    for key, hint in of.hints.items():
        if key in of.sizes:
            continue
        for value in wrong(hint):
            assert refused(of, **{key: value}).startswith(f"{key}="), (key, value)


@every_part
def test_a_misspelt_argument_is_refused(group, choice):
    of = shipped(group, choice)
    given = {key: value for key, value in of.section.items() if key in of.hints}
    for call in (
        lambda: of.part(**given, **of.sizes, wrongly_spelt=1),
        lambda: check_section({**of.section, "wrongly_spelt": 1}, group, of.sizes),
    ):
        with pytest.raises(InputError, match=f"wrongly_spelt: {of.part.__name__} takes no such argument"):
            call()


def test_wrong_values_are_found():
    assert beyond(Annotated[float, Field(gt=0, le=2)]) == [0, -1000, math.nextafter(2, math.inf), 1002]
    assert beyond(Annotated[int, Field(ge=1)]) == [0, -999]
    hints = [one for part in SHIPPED for hint in shipped(*part).hints.values() for one in members(hint)]
    assert sum(bool(limits(hint)) for hint in hints) > 60
    assert {bool, int, float, str, Literal, Sequence, Mapping} <= {get_origin(base(h)) or base(h) for h in hints}


RULES = [
    ("loss=angular alpha=85", "it has to be a number above 0 and at most 65"),
    ("loss=arcface margin=3.2", "it has to be a number of at least 0 and at most 3.14159"),
    ("loss=sub_center_arcface margin=28.6", "it has to be a number of at least 0 and at most 3.14159"),
    ("loss=cosface margin=50", "it has to be a number of at least 0 and at most 2"),
    ("loss=circle margin=1.1", "it has to be a number of at least 0 and at most 1"),
    ("loss=proxy_anchor margin=1.5", "it has to be a number of at least 0 and at most 1"),
    ("loss=tuplet_margin margin=90", "it has to be a number of at least 0 and below 90"),
    ("loss=infonce temperature=-1", "it has to be a number above 0"),
    ("loss=triplet margin=-5", "it has to be a number of at least 0"),
    ("loss=contrastive margin=0", "no negative pair would ever cost anything; set it above 0"),
    ("loss=signal_to_noise margin=0.0", "no negative pair would ever cost anything; set it above 0"),
    ("loss=ranked_list alpha=0.3", "it has to be at least margin=0.4: positives would have to be closer than 0"),
    ("miner=semihard low=0.2", "it has to be below high=0.2, or no triplet is ever selected"),
    ("miner=curriculum margin=0", "no triplet is semi-hard then; set it above 0"),
    ("miner=curriculum interpolation=1.0", "it has to be a number above 0 and below 1, or null"),
    ("miner=hdc share=0", "it has to be a number above 0 and at most 1"),
    ("miner=pair_margin negative_margin=0", "it has to be a number above 0"),
    ("miner=distance_weighted cutoff=0", "it has to be a number above 0 and at most 2"),
    ("miner=distance_weighted cutoff=1.5", "it has to be below nonzero_loss_cutoff=1.4, or no negative is ever drawn"),
    ("miner=batch_easy_hard negative_range=[0.5]", "it has to be [lowest, highest] distance"),
    ("miner=batch_easy_hard positive_range=[1, 0.5]", "it has to be [lowest, highest] distance"),
    (
        "miner=batch_easy_hard positive_strategy=semihard",
        "semihard is relative to one chosen pair of the other side, *",
    ),
    (
        "miner=batch_easy_hard positive_strategy=esay",
        "it has to be one of all, easy, semihard, hard; did you mean 'easy'?",
    ),
]


def parsed(words: str) -> tuple[Shipped, str, Any]:
    choice, _, change = words.partition(" ")
    key, _, value = change.partition("=")
    return shipped(*choice.split("=")), key, yaml.safe_load(value)


@pytest.mark.parametrize(("words", "rule"), RULES, ids=[words for words, _ in RULES])
def test_rules_of_one_part(words, rule):
    of, key, value = parsed(words)
    assert fnmatchcase(refused(of, **{key: value}), f"{glob.escape(f'{key}={value}: ')}{rule.replace('[', '[[]')}")


@pytest.mark.parametrize(
    "words",
    [
        "loss=angular alpha=65",
        f"loss=arcface margin={math.pi}",
        "loss=circle margin=1",
        "loss=cosface margin=2",
        "loss=ranked_list alpha=0.4",
        "loss=triplet margin=0",
        "loss=center_contrastive momentum=null",
        "miner=hard high=-0.5",
        "miner=easy low=null",
        "miner=angular max_triplets=null",
        "miner=batch_easy_hard negative_range=[0, 1]",
        "miner=distance_weighted nonzero_loss_cutoff=2",
    ],
)
def test_what_lies_within_is_taken(words):
    of, key, value = parsed(words)
    check_section({**of.section, key: value}, of.group, of.sizes)


def test_the_angle_that_is_allowed_still_fits_into_float32():
    labels = [0, 0, 1, 1, 2, 2]
    raw = embeddings(labels)
    single, double = (
        AngularLoss(65)(compare(raw.to(dtype), labels, "cosine"), TripletBand()).value.item()
        for dtype in (torch.float32, torch.float64)
    )
    assert single > 0
    assert single == pytest.approx(double, rel=1e-4)


@pytest.mark.parametrize("change", [{"size": 0}, {"size": 2.5}, {"embedding_size": 0}, {"warmup_steps": -1}])
def test_memory(change):
    ((key, value),) = change.items()
    with pytest.raises(InputError, match=f"^{key}={value}: it has to be a whole number of at least"):
        CrossBatchMemory(**{"size": 4, "embedding_size": 2, **change})
    assert CrossBatchMemory(4, 2).warmup_steps == 0


@every_part
def test_where_a_part_comes_from_and_what_it_needs(group, choice):
    part = shipped(group, choice).part
    if group == "loss":
        assert bool(part.paper) == (choice != "pml")
    if group == "miner":
        assert bool(part.paper) == (choice not in ("none", "pml", "random", "pair_margin", "uniform_histogram"))
        assert part.needs_unit_sphere == (choice == "distance_weighted")
