"""Sections of ``callbacks``, judged before anything loads and built as they are judged."""

import pytest
import pytorch_lightning as pl

from metriscope.config.callbacks import callback_sections, check_callbacks
from metriscope.errors import InputError
from metriscope.parts import instantiate

EVALUATION = {"monitor": "val/map_at_r", "mode": None}
LIGHTNING = "pytorch_lightning.callbacks"
EARLY = {"_target_": f"{LIGHTNING}.EarlyStopping", "monitor": "val/loss", "mode": None, "patience": 2}
HERE = __name__


class Watch(pl.Callback):
    """A callback of one's own."""

    def __init__(self, at: tuple[int, ...], of: pl.Callback | None = None) -> None:
        self.at, self.of = at, of


class NoCallback:
    """Something else."""


def built(**callbacks):
    check_callbacks({"callbacks": callbacks, "diagnostics": {}, "evaluation": EVALUATION})
    return [instantiate(section, where) for where, section in callback_sections("callbacks", callbacks, EVALUATION)]


def test_a_null_is_none_and_a_mode_follows_the_metric():
    (stopping,) = built(name="default", early_stopping=EARLY, other=None, off=False, empty={})
    assert (stopping.mode, stopping.patience) == ("min", 2)
    (stopping,) = built(early_stopping={key: value for key, value in EARLY.items() if key != "mode"})
    assert stopping.mode == "min"


def test_sections_within_a_section_are_built_first():
    (watch,) = built(watch={"_target_": f"{HERE}.Watch", "at": [1, 2], "of": {**EARLY, "mode": "min"}})
    assert watch.of.monitor == "val/loss"
    assert watch.at == [1, 2]


@pytest.mark.parametrize(
    ("section", "line"),
    [
        ({**EARLY, "patience": "x"}, "patience=x: it has to be a whole number"),
        ({**EARLY, "patince": 3}, "patince: EarlyStopping takes no such argument; did you mean 'patience'?"),
        ({**EARLY, "_target_": f"{LIGHTNING}.EarlyStoping"}, f"_target_={LIGHTNING}.EarlyStoping: {LIGHTNING} has no"),
        ({**EARLY, "_partial_": True}, "_partial_=true: it is not supported: give arguments by their names"),
        ({"_target_": f"{HERE}.Watch"}, "at: Watch needs a value for it"),
        ({"_target_": f"{HERE}.Watch", "at": [1, "x"]}, "at=[1, 'x']: it has to be a list of whole numbers"),
        (
            {"_target_": f"{HERE}.Watch", "at": [], "of": {**EARLY, "mode": "min", "patience": "x"}},
            "of.patience=x: it has to be",
        ),
        ({"_target_": f"{HERE}.NoCallback"}, f"_target_={HERE}.NoCallback: it has to be a Lightning callback"),
    ],
)
def test_wrong_sections_are_one_line(section, line):
    with pytest.raises(InputError) as caught:
        built(mine=section)
    assert str(caught.value).startswith(f"callbacks.mine.{line}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("section", [3, {"patience": 2}])
def test_a_section_needs_a_class(section):
    with pytest.raises(InputError, match=r"callbacks\.mine=.*: it has to be a section with the dotted path"):
        built(mine=section)
