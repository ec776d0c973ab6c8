"""Parts judge their own arguments, from Python and from a config, in the same words."""

import copy
import pickle
from collections.abc import Sequence
from typing import Annotated, Literal

import pytest
from pydantic import Field
from torch import nn

from metriscope.errors import InputError
from metriscope.parts import LATER, ArgumentError, Kind, NotBuilt, PartType, check_section, instantiate, judge, locate


class Part(nn.Module, metaclass=PartType):
    def __init__(
        self,
        margin: Annotated[float, Field(ge=0, le=2)] = 0.2,
        reduction: Literal["mean", "sum"] = "mean",
        scale: Annotated[float, Field(gt=0)] = 1.0,
        size: Annotated[int, Field(ge=1)] | None = None,
        steps: Sequence[int] = (),
        learns: bool = True,
        inner: object = None,
    ) -> None:
        super().__init__()
        self.margin, self.inner = margin, inner

    @classmethod
    def check(cls, arguments):
        if arguments["margin"] > arguments["scale"]:
            raise ArgumentError("margin", arguments["margin"], "it has to be below the scale")


class Needs:
    def __init__(self, path: str, **rest: int) -> None:
        self.path, self.rest = path, rest


HERE = __name__
REFUSED = [
    ({"margin": -1}, "margin=-1: it has to be a number of at least 0 and at most 2"),
    ({"margin": float("nan")}, "margin=nan: it has to be a number of at least 0 and at most 2"),
    ({"margin": "0.1"}, "margin=0.1: it has to be a number of at least 0 and at most 2"),
    ({"margin": True}, "margin=true: it has to be a number of at least 0 and at most 2"),
    ({"margin": None}, "margin=null: it has to be a number of at least 0 and at most 2"),
    ({"margin": 1.5}, "margin=1.5: it has to be below the scale"),
    ({"reduction": "meen"}, "reduction=meen: it has to be one of mean, sum; did you mean 'mean'?"),
    ({"scale": 0}, "scale=0: it has to be a number above 0"),
    ({"size": 0}, "size=0: it has to be a whole number of at least 1, or null"),
    ({"size": 2.0}, "size=2.0: it has to be a whole number of at least 1, or null"),
    ({"steps": "12"}, "steps=12: it has to be a list of whole numbers"),
    ({"steps": [1, "x"]}, "steps=[1, 'x']: it has to be a list of whole numbers"),
    ({"learns": "no"}, "learns=no: it has to be true or false"),
    ({"learns": 1}, "learns=1: it has to be true or false"),
]


@pytest.mark.parametrize(("arguments", "line"), REFUSED)
def test_the_same_line_from_python_and_from_a_config(arguments, line):
    with pytest.raises(InputError) as from_python:
        Part(**arguments)
    assert str(from_python.value) == line
    section = {"_target_": f"{HERE}.Part", "name": "part", **arguments}
    for call in (check_section, instantiate):
        with pytest.raises(InputError) as from_config:
            call(section, "loss")
        assert str(from_config.value) == f"loss.{line}"


def test_what_is_allowed_is_built():
    assert Part(1, "sum", steps=[1, 2], size=None, scale=2).margin == 1
    assert Part(margin=2, scale=3).margin == 2
    built = instantiate({"_target_": f"{HERE}.Part", "inner": {"_target_": f"{HERE}.Needs", "path": "x"}}, "head")
    assert built.inner.path == "x"
    assert copy.deepcopy(Part(0.5)).margin == pickle.loads(pickle.dumps(Part(0.5))).margin == 0.5


def test_names_that_are_no_argument():
    with pytest.raises(InputError, match=r"margn: Part takes no such argument; did you mean 'margin'"):
        Part(margn=1)
    assert instantiate({"_target_": f"{HERE}.Needs", "path": "x", "more": 3}, "dataset").rest == {"more": 3}
    with pytest.raises(InputError, match=r"dataset\.path: Needs needs a value for it"):
        instantiate({"_target_": f"{HERE}.Needs"}, "dataset")


def test_sections_within_lists_and_mappings_are_judged_and_built():
    def nested(**arguments):
        within = [{"deep": {"_target_": f"{HERE}.Needs", **arguments}}, 1]
        return {"_target_": f"{HERE}.Part", "inner": within, "margin": 0.5}

    assert check_section(nested(path="x"), "head") is Part
    assert instantiate(nested(path="x"), "head").inner[0]["deep"].path == "x"
    for call in (check_section, instantiate):
        with pytest.raises(InputError, match=r"^head\.inner\[0\]\.deep\.path=3: it has to be a name"):
            call(nested(path=3), "head")


def test_annotations_of_other_libraries():
    """A config has lists only; a name that only a type checker imports says nothing about the other arguments."""

    def other(pair: tuple[float, float], unknown: "NotImported" = None, number: "int" = 1) -> None:  # noqa: F821
        """Stands for what a library has."""

    judge(other, {"pair": [1, 2.5], "unknown": object(), "number": 3})
    with pytest.raises(InputError, match=r"^pair=\[1\]: it has to be a list of 2 numbers"):
        judge(other, {"pair": [1]})
    with pytest.raises(InputError, match=r"^number=x: it has to be a whole number"):
        judge(other, {"pair": [1, 2], "number": "x"})


@pytest.mark.parametrize("word", ["_args_", "_convert_", "_partial_", "_recursive_"])
def test_words_of_hydra_are_refused(word):
    for call in (check_section, instantiate):
        with pytest.raises(InputError, match=rf"^dataset\.{word}=true: it is not supported"):
            call({"_target_": f"{HERE}.Needs", "path": "x", word: True}, "dataset")


def test_a_module_that_forgets_its_base():
    class Forgetful(nn.Module, metaclass=PartType):
        def __init__(self, size: int = 1) -> None:
            self.size = size

    with pytest.raises(InputError, match=r"^Forgetful: its constructor has to call super\(\)\.__init__\(\) first$"):
        Forgetful()


def test_what_is_known_later_is_judged_later():
    section = {"_target_": f"{HERE}.Part", "margin": 0.5}
    check_section(section, "loss", {"size": LATER, "scale": 2.0})
    with pytest.raises(InputError, match=r"^loss\.siz: Part takes no such argument\.$"):
        check_section({**section, "siz": 3}, "loss", {"size": LATER})
    for call in (check_section, lambda section, where, further: instantiate(section, where, **further)):
        with pytest.raises(InputError, match=r"^loss\.size: the run itself knows it: leave it out$"):
            call({**section, "size": 3}, "loss", {"size": 4})


def test_a_list_stands_for_a_tuple_and_a_description_for_itself():
    def part(
        pair: tuple[float, float] = (0, 1),
        even: Annotated[int, Field(multiple_of=2, description="an even number")] | None = None,
    ) -> None: ...

    judge(part, {"pair": [0.5, 1], "even": 4})
    with pytest.raises(InputError, match=r"^pair=\[1\]: it has to be a list of 2 numbers$"):
        judge(part, {"pair": [1]})
    with pytest.raises(InputError, match=r"^even=3: it has to be an even number, or null$"):
        judge(part, {"even": 3})


@pytest.mark.parametrize(
    ("target", "line"),
    [
        (
            "no_such_module.X",
            "loss._target_=no_such_module.X: no module no_such_module; put the folder",
        ),
        ("metriscope.losses.TripletLos", "has no TripletLos; did you mean 'TripletLoss'?"),
        ("metriscope.no_such.X", "no module metriscope.no_such"),
        ("X", "it has to be the dotted path of a class"),
        ("..X", "it has to be the dotted path of a class"),
        ("metriscope.losses.", "it has to be the dotted path of a class"),
    ],
)
def test_targets_that_are_not_there(target, line):
    with pytest.raises(InputError) as caught:
        locate(target, "loss.")
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_module_that_does_not_import(tmp_path, monkeypatch):
    (tmp_path / "half.py").write_text("import not_installed_anywhere\n")
    (tmp_path / "broken.py").write_text("raise ValueError('two\\nlines')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match="importing half needs the module not_installed_anywhere, which is not there"):
        locate("half.X")
    with pytest.raises(InputError, match="importing broken fails: ValueError: two lines"):
        locate("broken.X")


def test_a_constructor_that_fails_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "willing.py").write_text("class Part:\n    def __init__(self):\n        raise OSError('two\\nlines')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(NotBuilt, match=r"^callbacks\.x: two lines \(OSError in line 3 of .*willing\.py\)$"):
        instantiate({"_target_": "willing.Part"}, "callbacks.x")


def test_what_a_part_has_to_be_comes_before_its_arguments():
    kind = Kind("metriscope.losses.Loss", "a loss")
    for target in (f"{HERE}.Part", "metriscope.errors.nearest"):
        with pytest.raises(InputError, match=rf"^loss\._target_={target}: it has to be a loss$"):
            check_section({"_target_": target, "siz": 3}, "loss", kind=kind)
