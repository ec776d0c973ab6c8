"""Every key of every shipped config refuses values of another type than its default.

Parts that judge their own arguments are walked in ``tests/objectives/test_arguments.py``.
"""

import math

import pytest
from tiny_runs import COMPOSER

from metriscope.config.defaults import groups, of_top_level
from metriscope.config.files import choices, section
from metriscope.config.keys import check_types, check_values
from metriscope.config.plain import flatten, plain
from metriscope.errors import InputError

JUDGED = ("loss", "miner", "distance", "sampler", "augmentation", "scheduler")
CHOICES = [(group, choice) for group in groups() for choice in choices(group) if group not in JUDGED]


def keys_of(group, choice):
    """Key -> default of what the choice itself says, without interpolations and the names of classes."""
    flat = flatten(plain(section(group, choice), resolve=False), f"{group}.")
    return {key: value for key, value in flat.items() if not key.endswith("_target_") and "$" not in str(value)}


def is_refused(flat, key, value):
    try:
        check_types({**flat, key: value}, JUDGED)
        check_values({**flat, key: value})
    except InputError as error:
        return str(error).startswith(f"{key}=") and "\n" not in str(error)
    return False


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_values_of_another_type_are_refused(group, choice):
    passed = []
    for key, default in keys_of(group, choice).items():
        if isinstance(default, bool):
            wrong = ["no", "off", "false", 1, None]
        elif isinstance(default, int | float):
            wrong = ["many", math.nan, math.inf, True]
        else:
            continue
        nullable = key.startswith("trainer.")
        flat = {key: default}
        passed += [(key, v) for v in wrong if not is_refused(flat, key, v) and not (v is None and nullable)]
    assert passed == []


def test_switches_say_what_was_meant():
    with pytest.raises(InputError, match=r"backbone\.freeze=off: it has to be true or false; did you mean false\?"):
        check_types({"backbone.freeze": "off"}, JUDGED)
    with pytest.raises(InputError, match=r"head\.normalize=1: it has to be true or false; did you mean true\?"):
        check_types({"head.normalize": 1}, JUDGED)


@pytest.mark.parametrize("value", [20241130, 1.5, True, None])
def test_numbers_and_switches_are_no_names(value):
    flat = flatten(plain(COMPOSER([])))
    names = [key for key, (default, *_) in of_top_level().items() if isinstance(default, str) and "$" not in default]
    assert {"study", "resume", "paths.data_dir", "paths.output_dir"} <= set(names)
    assert [key for key in names if not is_refused(flat, key, value)] == []
