"""The parts that one's own data may bring, and what each is for."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from metriscope.data.files.listing import ImageList, Listing, natural
from metriscope.data.inputs.boxes import Box
from metriscope.errors import InputError

TRAIN, TEST, QUERY, GALLERY = "train", "test", "query", "gallery"
VALIDATION = ("val", "valid", "validation")
NAMES = (TRAIN, *VALIDATION, TEST, QUERY, GALLERY)

_TEST_SHARE = 0.2


class Entry(NamedTuple):
    """One image: its file, the names of its class and part, the box that is meant, and its class's superclass."""

    path: str
    label: str
    part: str = TRAIN
    box: Box | None = None
    superclass: str | None = None


def listing_of(entries: Sequence[Entry], where: str) -> Listing:
    """The listing of images in their parts; query and gallery together are the test part.

    Without a test part a closed-set test takes a fixed stratified fifth of train.

    Raises:
        InputError: the parts do not go together.
    """
    check_parts({entry.part for entry in entries}, where)
    validation = _list(entry for entry in entries if entry.part in VALIDATION)
    tested = [entry for entry in entries if entry.part in (TEST, QUERY, GALLERY)]
    queries = tuple(entry.part == QUERY for entry in tested)
    train = _list(entry for entry in entries if entry.part == TRAIN)
    assert train is not None
    return Listing(
        train,
        _list(tested),
        queries if any(queries) else None,
        None if tested else _TEST_SHARE,
        validation,
    )


def check_parts(names: Iterable[str], where: str) -> None:
    """Refuse parts that do not go together; ``where`` names the data in the message.

    Raises:
        InputError: train is missing, query or gallery is without the other or beside test, or there are two
            validation parts.
    """
    names = set(names)
    validation = [name for name in VALIDATION if name in names]
    if TRAIN not in names:
        raise InputError(f"{where} has {_said(names)} but no part {TRAIN}")
    if len(validation) > 1:
        raise InputError(f"{where} has {_said(validation)}: one part validates")
    if len(names & {QUERY, GALLERY}) == 1:
        there, gone = (QUERY, GALLERY) if QUERY in names else (GALLERY, QUERY)
        raise InputError(f"{where} has {there} but no {gone}: queries are looked for in a gallery")
    if {TEST, QUERY} <= names:
        raise InputError(f"{where} has {TEST} beside {QUERY} and {GALLERY}: only one of the two is tested")


def _said(names: Iterable[str]) -> str:
    return " and ".join(sorted(names, key=NAMES.index))


def _list(entries: Iterable[Entry]) -> ImageList | None:
    entries = list(entries)
    if not entries:
        return None
    classes = natural({entry.label for entry in entries})
    ids = {name: position for position, name in enumerate(classes)}
    boxes = tuple(entry.box for entry in entries)
    return ImageList(
        tuple(entry.path for entry in entries),
        tuple(ids[entry.label] for entry in entries),
        tuple(classes),
        boxes if any(boxes) else None,
        _superclasses(entries, classes),
    )


def _superclasses(entries: Sequence[Entry], classes: Sequence[str]) -> tuple[str, ...] | None:
    known = {entry.label: entry.superclass for entry in entries if entry.superclass is not None}
    return tuple(known[name] for name in classes) if known else None
