"""Export of a run: its tensors, a description of the model, a card, and an ONNX graph on request, in one folder."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from metriscope.build.trained import Which, read_trained
from metriscope.errors import InputError
from metriscope.files import replacing_folder, write_json
from metriscope.serving import onnx as graphs
from metriscope.serving.card import card
from metriscope.serving.description import FORMAT
from metriscope.serving.embedder import Embedder
from metriscope.serving.stored import (
    CARD,
    CONFIG,
    FILES,
    GRAPH,
    TENSORS,
    Digests,
    is_exported,
    of_run,
    read_description,
    read_exported,
)
from metriscope.serving.stored import safetensors as needed


class Exported(NamedTuple):
    """What an export has written.

    Attributes:
        folder: where.
        digest: of the model.
        check: how far the ONNX graph is from torch; None without one.
        note: why the graph was compared on random examples; None where it was on those of the test part.
    """

    folder: Path
    digest: str
    check: graphs.Check | None = None
    note: str | None = None


def export(
    run: str | Path,
    out: str | Path,
    checkpoint: Which | None = None,
    *,
    onnx: bool = False,
    trust_code: bool = False,
    overwrite: bool = False,
) -> Exported:
    """Write the model of a run to a folder of its own, which :func:`metriscope.load` reads.

    Args:
        run: its folder.
        out: the folder to write, whole or not at all.
        checkpoint: as of :func:`metriscope.load`.
        onnx: write an ONNX graph as well.
        trust_code: as of :func:`metriscope.load`.
        overwrite: replace an earlier export.

    Raises:
        InputError: the run has no model, a package is missing, the folder is there already or cannot be written, or
            the ONNX graph deviates.
    """
    run, out = Path(run), Path(os.path.abspath(out))
    with _writing(out):
        _check_free(out, overwrite)
    writer = needed(out / TENSORS)
    if onnx:
        graphs.require()
    if is_exported(run):
        raise InputError(f"{run} is an exported model already: give the folder of a run")
    trained = read_trained(run, checkpoint)
    described, state = of_run(trained)
    if not trust_code:
        described.check_parts()
    model = Embedder(described, state)
    content, check, note = None, None, None
    if onnx:
        content = graphs.graph(model)
        examples, note = graphs.examples_of(trained.config, model, trust_code)
        check = graphs.checked(content, model, examples, "test" if note is None else "random")
    tensors = _tensors(writer, model.network.state_dict(), model.digest)
    digests = Digests(model.digest, hashlib.sha256(tensors).hexdigest())
    config: dict[str, Any] = {**described.plain(), **digests._asdict(), "metriscope": version("metriscope")}
    if content is not None and check is not None:
        config["onnx"] = {"sha256": hashlib.sha256(content).hexdigest(), **check.plain()}
    text = card(trained, model, check)
    with _writing(out), replacing_folder(out, overwrite=overwrite) as draft:
        (draft / TENSORS).write_bytes(tensors)
        if content is not None:
            (draft / GRAPH).write_bytes(content)
        write_json(draft / CONFIG, config)
        (draft / CARD).write_text(text, encoding="utf-8")
        read_exported(draft)
    return Exported(out, model.digest, check, note)


def _tensors(writer: Any, state: Mapping[str, Tensor], digest: str) -> bytes:
    # Tensors that share memory are refused, and the format knows rows alone.
    own = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    found: bytes = writer.save(own, metadata={"format": "pt", "metriscope": str(FORMAT), "digest": digest})
    return found


def _check_free(out: Path, overwrite: bool) -> None:
    """Refuse a folder that is there, but for an earlier export that may be replaced."""
    if not os.path.lexists(out):
        return
    if out.is_symlink() or not out.is_dir():
        raise InputError(f"{out} is {'a link' if out.is_symlink() else 'a file'}: set another folder with -o")
    others = sorted({path.name for path in out.iterdir()} - set(FILES))
    held = f"{others[0]}, which no export has written" if others else ""
    try:
        read_description(out)
    except InputError:
        held = held or "no exported model"
    if held:
        raise InputError(f"{out} is there already and holds {held}, so that it is not replaced: set another with -o")
    if not overwrite:
        raise InputError(f"{out} holds an exported model already: --overwrite replaces it, or set another with -o")


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"cannot write {error.filename or out}: {error.strerror}; set another folder with -o"
        ) from error
