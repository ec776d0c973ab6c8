"""Search a gallery for the images nearest to each query, by a trained run.

metriscope search outputs/default/mine-resnet18/triplet-all/seed0-1a2b3c4d query.jpg photos/
metriscope search RUN queries/ photos.index -k 5 --html found.html --csv found.csv

The gallery is a folder, or a file that metriscope index has made of one, which is searched at once. A search is exact.
Where queries and gallery are the same folder, an image is no neighbour of itself.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from metriscope import environment
from metriscope.commands.model_words import add_model_options, count, model_of, told_progress, told_skipped
from metriscope.commands.words import Parser, a_path
from metriscope.errors import Exit, InputError
from metriscope.escapes import shown

if TYPE_CHECKING:
    from metriscope.serving.embedded import Embedded
    from metriscope.serving.embedder import Embedder


def main(words: Sequence[str]) -> int:
    """The exit code.

    Raises:
        InputError: wrong input, an image that cannot be read, or a file that cannot be written.
    """
    arguments = _parser().parse_args(words)
    environment.prepare()
    written: list[Path] = [path for path in (arguments.html, arguments.json, arguments.csv) if path is not None]
    from metriscope.serving.found import Found, as_csv, as_json, table
    from metriscope.serving.jobs import check_output

    for path in written:
        check_output(path)
    for path in (arguments.queries, arguments.gallery):
        if not path.exists():
            raise InputError(f"{path}: there is no such file or folder")
    model = model_of(arguments)
    gallery = _gallery(model, arguments)
    same = arguments.gallery.is_dir() and arguments.queries.resolve() == arguments.gallery.resolve()
    queries = gallery if same else _embedded(model, arguments.queries, arguments, "queries")
    found = Found(queries, model.search(queries, gallery, arguments.k))
    for line in told_skipped([*dict.fromkeys((*gallery.skipped, *queries.skipped))]):
        print(shown(line), file=sys.stderr)
    print(table(found), end="")
    from metriscope.serving.page import page

    writers: list[tuple[Path | None, Callable[[Found], str]]] = [
        (arguments.html, page),
        (arguments.json, as_json),
        (arguments.csv, as_csv),
    ]
    for target, text in writers:
        if target is not None:
            _write(target, text(found))
    if written:
        print(f"written: {', '.join(shown(str(path)) for path in written)}")
    return Exit.FINISHED


def _gallery(model: "Embedder", arguments: argparse.Namespace) -> "Embedded":
    path: Path = arguments.gallery
    return _embedded(model, path, arguments, "gallery") if path.is_dir() else model.load_gallery(path)


def _embedded(model: "Embedder", path: Path, arguments: argparse.Namespace, what: str) -> "Embedded":
    with told_progress(what) as progress:
        return model.embed(
            path,
            arguments.batch_size,
            precision=arguments.precision,
            unreadable=arguments.unreadable,
            progress=progress,
        )


def _write(path: Path, text: str) -> None:
    from metriscope.files import replacing

    try:
        with replacing(path) as draft:
            draft.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {error.filename}: {error.strerror}") from error


def _parser() -> argparse.ArgumentParser:
    parser = Parser("metriscope search", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    option = parser.add_argument
    option("run", type=a_path, help="folder of a finished run, or of an exported model")
    option("queries", type=a_path, help="an image, or a folder of images")
    option("gallery", type=a_path, help="a folder of images, or a file of metriscope index")
    option("-k", type=count, default=10, metavar="N", help="neighbours for each query (default: 10)")
    option("--html", type=a_path, metavar="FILE", help="one page with pictures of queries and their neighbours")
    option("--json", type=a_path, metavar="FILE", help="for scripts")
    option("--csv", type=a_path, metavar="FILE", help="for scripts and spreadsheets")
    add_model_options(parser)
    return parser
