"""No module names a shipped loss, miner or distance, but its own file: others ask the part, as for one of one's own."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from metriscope.config.files import choices, section

SOURCE = Path(__file__).parents[1] / "src" / "metriscope"
# What an experiment compares is a fact about it.
EXPERIMENTS = "reports/experiments/"
# (file, word) -> what the word means there, where it is not the name of a loss or miner.
OTHER_MEANINGS = {
    ("build/data.py", "none"): "dataset.cache",
    ("callbacks/class_neighbors.py", "sum"): "how processes add up",
    ("config/across.py", "all"): "pairs_across",
    ("config/evaluating.py", "none"): "an evaluation has no miner",
    ("config/sections.py", "none"): "no part, in groups that may have none",
    ("config/keys.py", "none"): "dataset.cache, augmentation.crop",
    ("data/inputs/augment.py", "none"): "augmentation.crop",
    ("data/inputs/decoded.py", "none"): "dataset.cache",
    ("evaluation/verification/listed.py", "none"): "no column",
    ("fair/words.py", "all"): "a model on all training classes",
    ("objectives/arguments.py", "sum"): "loss.reduction",
    ("objectives/losses/base.py", "sum"): "loss.reduction",
    ("objectives/losses/classes/unpg.py", "arcface"): "its argument base",
    ("objectives/losses/classes/unpg.py", "cosface"): "its argument base",
    ("objectives/losses/classes/unpg.py", "margin"): "its argument",
    ("objectives/losses/pairs/hinges.py", "margin"): "its argument",
    ("objectives/losses/pairs/ranked_list.py", "margin"): "its argument",
    ("objectives/losses/ranking/groco.py", "none"): "an option of torch",
    ("objectives/losses/softmax/mv_dhel.py", "all"): "its argument negatives",
    ("objectives/losses/softmax/mv_dhel.py", "sum"): "its argument repulsion",
    ("objectives/losses/softmax/n_pair.py", "all"): "its argument anchors",
    ("objectives/miners/batch_easy_hard.py", "all"): "its strategies",
    ("objectives/miners/batch_easy_hard.py", "easy"): "its strategies",
    ("objectives/miners/batch_easy_hard.py", "hard"): "its strategies",
    ("objectives/miners/batch_easy_hard.py", "semihard"): "its strategies",
    ("objectives/miners/batch_hard.py", "hard"): "its argument negative",
    ("objectives/miners/batch_hard.py", "semihard"): "its argument negative",
    ("objectives/miners/curriculum.py", "margin"): "its argument",
    ("objectives/peer_classes.py", "SmoothAPLoss"): "a class of pytorch-metric-learning",
    ("objectives/peer_classes.py", "VICRegLoss"): "a class of pytorch-metric-learning",
    ("objectives/weightings/asp.py", "sigmoid"): "its schedule",
    ("reports/gallery.py", "random"): "queries drawn at random",
    ("reports/html/pictured.py", "circle"): "a mark of Vega-Lite",
    ("serving/card.py", "none"): "no miner",
    ("serving/card.py", "random"): "images drawn at random",
    ("serving/export.py", "random"): "images drawn at random",
    ("serving/onnx.py", "random"): "images drawn at random",
    ("reports/fair_checks.py", "all"): "all folds",
    ("reports/fair_report.py", "all"): "all entries",
    ("reports/references.py", "all"): "what published figures say of a miner",
    ("reports/references.py", "none"): "no difference, or what published figures say of a miner",
    ("reports/style.py", "none"): "an option of matplotlib",
    ("reports/projection.py", "random"): "an option of scikit-learn",
}
# Kinds of selections that share their names with miners: where they stand, they are elements of a set.
KINDS = {"all", "none"}


def shipped() -> tuple[set[str], dict[str, set[str]]]:
    """Names of all shipped losses, miners and distances, and the words that each of their modules may say of itself."""
    names: set[str] = set()
    own: dict[str, set[str]] = {}
    for group in ("loss", "miner", "distance"):
        for name in choices(group):
            names.add(name)
            module, _, class_name = str(section(group, name).get("_target_", "")).rpartition(".")
            if class_name:
                own.setdefault(module, set()).update({name, class_name})
    return names, own


NAMES, OWN = shipped()
CLASSES = {word for words in OWN.values() for word in words} - NAMES


def words(text: str, module: str = "") -> Iterator[tuple[int, str]]:
    """Line and word of everything in a module that names a loss or miner that is not its own."""
    tree = ast.parse(text)
    parts = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {node.body[0].value for node in ast.walk(tree) if isinstance(node, parts) and _is_text(node.body)}
    kinds = {element for node in ast.walk(tree) if isinstance(node, ast.Set) for element in node.elts}
    for node in ast.walk(tree):
        if node in docstrings or (node in kinds and _word(node) in KINDS):
            continue
        word = _word(node)
        if word not in OWN.get(module, ()) and (word in CLASSES or (word in NAMES and isinstance(node, ast.Constant))):
            yield node.lineno, word
        if isinstance(node, ast.ImportFrom) and node.module in OWN and node.module != module:
            yield from ((node.lineno, alias.name) for alias in node.names if alias.name not in CLASSES)


def _is_text(body: list[ast.stmt]) -> bool:
    return bool(body) and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant)


def _word(node: ast.AST) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value).rpartition(".")[2] if isinstance(node.value, str) else ""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.name.rpartition(".")[2] if isinstance(node, ast.alias) else ""


def test_parts_are_asked_not_named():
    found: dict[tuple[str, str], str] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        file = path.relative_to(SOURCE).as_posix()
        module = ".".join(("metriscope", *path.relative_to(SOURCE).with_suffix("").parts))
        for line, word in () if file.startswith(EXPERIMENTS) else words(path.read_text(encoding="utf-8"), module):
            found.setdefault((file, word), f"{file}:{line}: {word}")
    assert [place for key, place in found.items() if key not in OTHER_MEANINGS] == []


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("if loss['name'] == 'triplet': pass", "triplet"),
        ("PATH = 'metriscope.objectives.losses.triplets.triplet.TripletLoss'", "TripletLoss"),
        ("from metriscope.losses import TripletLoss as T", "TripletLoss"),
        ("losses.TripletLoss()", "TripletLoss"),
        ("from metriscope.objectives.miners.hdc import hardest", "hardest"),
        ("KIND = 'all'", "all"),
    ],
)
def test_what_counts_as_a_name(text, word):
    assert (1, word) in list(words(text))


def test_what_does_not():
    text = (
        '"""triplet"""\ndef triplet(margin):\n    """all"""\n    return margin, sum([1]), frozenset({"all", "none"})\n'
    )
    assert list(words(text)) == []
    assert list(words("NAME = 'triplet'", "metriscope.objectives.losses.triplets.triplet")) == []
