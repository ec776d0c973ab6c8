"""Two sets of labels of the same examples: fine classes, and the superclasses in which they lie."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from metriscope.config.keys import check_values
from metriscope.data.examples import Examples
from metriscope.errors import InputError

LabelSet = Literal["fine", "coarse"]

TRAIN, TEST = "dataset.train_labels", "dataset.test_labels"


@dataclass(frozen=True, eq=False)
class LabelSets:
    """Which of two label sets is used for what.

    Attributes:
        trained: the set that training uses.
        evaluated: the set that validation and test are scored by.
        parts: the parts of the data by name, with fine classes that lie in superclasses.
    """

    trained: LabelSet
    evaluated: LabelSet
    parts: Mapping[str, Examples]

    @cached_property
    def references(self) -> Examples:
        """The train part with the labels that evaluation goes by."""
        return labelled(self.parts["train"], self.evaluated)

    @cached_property
    def validation(self) -> Examples:
        """The validation part with the labels that training uses."""
        return labelled(self.parts["validation"], self.trained)

    def said(self) -> str:
        """What is used for what, in words."""
        return f"trained on {self.trained} labels, evaluated by {self.evaluated} ones"


def labelled(part: Examples, by: LabelSet) -> Examples:
    """A part of the data with the labels of one of its two sets."""
    return part.coarse() if by == "coarse" else part


def label_sets(parts: Mapping[str, Examples], trained: str | None, evaluated: str | None) -> LabelSets | None:
    """Which labels are used for what; None where the data have one set of them.

    Args:
        parts: of the data, by name.
        trained: ``fine`` or ``coarse``, the labels to train on; None for fine ones.
        evaluated: the same of validation and test.

    Raises:
        InputError: an unknown set, one that the data do not have, or a single coarse class to train on.
    """
    check_values({TRAIN: trained, TEST: evaluated})
    if parts["train"].superclasses is None:
        for key, value in ((TRAIN, trained), (TEST, evaluated)):
            if value == "coarse":
                raise InputError(
                    f"{key}=coarse: these data have one set of labels; set dataset.superclasses (synthetic, folder) or "
                    "dataset.coarse_label (csv), or leave the key out"
                )
        return None
    found = LabelSets(_known(trained), _known(evaluated), parts)
    if found.trained == "coarse" and len(set(parts["train"].units)) < 2:
        raise InputError(f"{TRAIN}=coarse: the train part has 1 superclass, and metric learning needs at least 2")
    return found


def _known(value: str | None) -> LabelSet:
    return "coarse" if value == "coarse" else "fine"
