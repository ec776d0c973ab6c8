"""Sections that describe a part, and which of their keys are not arguments of its ``_target_``."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from metriscope.parts import LATER, Kind, arguments_of, check_section, locate

NO_PART = "none"
"""The choice, without a ``_target_``, that stands for no part in groups that have it."""


class Section(NamedTuple):
    """How a section of the config becomes a part."""

    others: frozenset[str]
    """Keys that somebody else reads."""
    later: Mapping[str, Any]
    """Arguments that are known later, with values that stand for them."""
    optional: frozenset[str] = frozenset()
    """Arguments, of the section or known later, that only some parts take."""
    kind: Kind | None = None
    """What a part has to be."""
    usual: str | None = None
    """The class of a section that names none, and no shipped choice either."""
    may_be_none: bool = False
    """Whether the choice :data:`NO_PART` stands for no part."""

    def absent(self, section: Mapping[str, Any]) -> bool:
        """Whether a section stands for no part."""
        return self.may_be_none and section.get("_target_") is None and section.get("name") == NO_PART

    def arguments(self, section: Mapping[str, Any]) -> dict[str, Any]:
        """The section without the keys that somebody else reads; ``_target_`` and ``name`` stay."""
        left_out = self.others | (self.later.keys() & {"mode"} if "monitor" in section else set())
        return self.taken(section, {key: value for key, value in section.items() if key not in left_out})

    def further(self, section: Mapping[str, Any]) -> dict[str, Any]:
        """What stands for the arguments of this section that are known later."""
        # The better end of a metric is known later where the section goes by one; else a mode is the part's own.
        known = {key: value for key, value in self.later.items() if key != "mode" or "monitor" in section}
        return self.taken(section, known)

    def taken(self, section: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
        """``arguments`` without the optional ones that the part of this section does not take."""
        if not self.optional & arguments.keys():
            return dict(arguments)
        takes = arguments_of(locate(str(section["_target_"])))
        return {key: value for key, value in arguments.items() if key in takes or key not in self.optional}


_HABITS = {"library", "weights", "freeze", "freeze_batch_norm", "precision", "cache_features", "channels_last"}
_SPLIT = {
    "protocol", "fold", "validation", "train_share", "label_noise", "label_noise_pairs", "train_labels", "test_labels",
    "num_workers", "cache", "memory_limit_mb", "image_limit_mb",
}  # fmt: skip
_STATISTICS = {"mean", "std"}
_RATES = {"lr_trunk", "lr_head", "lr_loss", "layer_decay"}
_SAMPLER, _AUGMENTATION = "metriscope.data.samplers.BatchSampler", "metriscope.data.inputs.augment.Augmentation"
_STEPS = {"total_steps", "steps_per_epoch"}

SIZES = {"num_classes": 2, "embedding_size": 2, "num_samples": 2}
"""Sizes that are known once the data are read, and what stands for them: a part whose constructor takes one gets it."""


def _addition(base: str) -> Section:
    """A part that an objective may do without, and that gets the sizes that it takes."""
    kind = Kind(base, f"a subclass of {base}")
    return Section(frozenset(), SIZES, optional=frozenset(SIZES), kind=kind, may_be_none=True)


# In the order of their checks: data sets and backbones come last, because they import most.
SECTIONS = {
    "sampler": Section(
        frozenset({"views", "labels"}),
        dict.fromkeys(("labels", "seed", "rank", "world_size"), LATER),
        # Data sets recommend a shape of the batch, whichever sampler is chosen.
        optional=frozenset({"classes_per_batch", "samples_per_class"}),
        kind=Kind(_SAMPLER, f"a subclass of {_SAMPLER}"),
    ),
    "augmentation": Section(
        frozenset(),
        dict.fromkeys(_STATISTICS, LATER),
        kind=Kind(_AUGMENTATION, f"a subclass of {_AUGMENTATION}"),
        usual=_AUGMENTATION,
    ),
    "optimizer": Section(frozenset(_RATES), {"params": LATER}),
    "scheduler": Section(
        frozenset({"monitor"}),
        dict.fromkeys({"optimizer", "mode"} | _STEPS, LATER),
        optional=frozenset({"mode"} | _STEPS),
    ),
    "head": Section(frozenset({"normalize", "parts"}), {"features": 1}),
    "memory": Section(
        frozenset(),
        {"embedding_size": 1, "affinity_size": 0, "sides": False},
        optional=frozenset({"affinity_size", "sides"}),
    ),
    "references": _addition("metriscope.objectives.references.base.References"),
    "weighting": _addition("metriscope.objectives.weightings.base.Weighting"),
    "mixture": _addition("metriscope.objectives.mixtures.base.Mixture"),
    "backbone": Section(frozenset(_HABITS | _STATISTICS), {"shape": (1, 1, 1)}),
    "dataset": Section(frozenset({"name"} | _SPLIT | _STATISTICS), {}),
}


def sizes_for(section: Mapping[str, Any], sizes: Mapping[str, int]) -> dict[str, int]:
    """Those of the sizes that the part of this section takes and the section does not say."""
    takes = arguments_of(locate(str(section["_target_"])))
    return {key: value for key, value in sizes.items() if key in takes}


def check_sections(config: Mapping[str, Any]) -> None:
    """Refuse arguments that a part of these sections does not take. Imports the parts.

    Raises:
        InputError: naming the key, its value, and what would do.
    """
    for group, section in SECTIONS.items():
        own = config[group]
        if section.absent(own) or (group == "memory" and not own["size"]):
            continue
        locate(str(own["_target_"]), f"{group}.")
        check_section(section.arguments(own), group, section.further(own), section.kind)
