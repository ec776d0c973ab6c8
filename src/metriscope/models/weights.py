"""Pretrained weights, by name or from a local file: matched by name and shape, with a report."""

import hashlib
import importlib
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from metriscope import tensor_files
from metriscope.errors import InputError, nearest

log = logging.getLogger(__name__)

State = dict[str, Tensor]

PREFIXES = ("module.", "model.", "trunk.", "backbone.", "embedder.", "body.", "_orig_mod.")
CONTAINERS = ("state_dict", "model_state_dict", "model")


@dataclass(frozen=True)
class Pretrained:
    """Weights that a library publishes under a name.

    Attributes:
        load: reads or downloads them; raises InputError where that is impossible.
        mean, std: per channel, on the [0, 1] scale, the normalisation of images in pretraining.
    """

    load: Callable[[], State]
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class LoadReport:
    """Which tensors of a file were loaded; batch-norm step counters are loaded but not counted.

    Attributes:
        source: where the tensors came from.
        matched: tensors of the trunk that were filled.
        total: tensors that the trunk has.
        missing: names of the trunk that the file does not have.
        misfits: names present in both with different shapes.
        unused: names in the file that the trunk does not have, such as a classifier.
        published: the entry that was selected by name; None for a file.
    """

    source: str
    matched: int
    total: int
    missing: tuple[str, ...]
    misfits: tuple[str, ...]
    unused: tuple[str, ...]
    published: Pretrained | None = None

    def __str__(self) -> str:
        parts = [f"{self.matched} of {self.total} tensors of the trunk loaded from {self.source}"]
        for label, names in (
            ("not in the file", self.missing),
            ("of another shape", self.misfits),
            ("left unused", self.unused),
        ):
            if names:
                parts.append(f"{label}: {_few(names)}")
        return "; ".join(parts)


def load_weights(
    module: nn.Module,
    source: str,
    name: str,
    pretrained: Mapping[str, Pretrained],
    adapt: Callable[[State], State] | None = None,
) -> LoadReport:
    """Fills ``module`` in place from a local file, or from the ``pretrained`` weights called ``source``.

    Names are compared after removing wrappers such as ``module.`` or ``backbone.``; of a Metriscope
    checkpoint only the trunk is read. Tensors of another shape are left unchanged. The report is logged, as a warning
    if a part of the trunk was not filled.

    Raises:
        InputError: no such weights, a file that cannot be read, or nothing in it that fits.
    """
    state = _trunk_entries(_read(source, name, pretrained))
    target = module.state_dict()
    found: State = {}
    unused = []
    for key, tensor in state.items():
        place = _place(key, target)
        if place is None or place in found:
            unused.append(key)
        else:
            found[place] = tensor
    if adapt is not None:
        found = adapt(found)
    fitting = {key: tensor for key, tensor in found.items() if tensor.shape == target[key].shape}
    counted = [key for key in target if not key.endswith("num_batches_tracked")]
    report = LoadReport(
        source=source,
        matched=sum(key in fitting for key in counted),
        total=len(counted),
        missing=tuple(key for key in counted if key not in found),
        misfits=tuple(key for key in counted if key in found and key not in fitting),
        unused=tuple(unused),
        published=None if Path(source).expanduser().is_file() else pretrained[source],
    )
    if not report.matched:
        raise InputError(
            f"backbone.weights: nothing in {source} fits {name}: the file has "
            f"{_few(tuple(state)) or 'no tensors'}, the trunk has "
            f"{_few(tuple(counted))}; is it for another backbone?"
        )
    module.load_state_dict(fitting, strict=False)
    log.log(logging.INFO if report.matched == report.total else logging.WARNING, "backbone.weights: %s", report)
    return report


def read_state(path: Path) -> State:
    """The named tensors in a ``.pt``, ``.pth``, ``.ckpt`` or ``.safetensors`` file; no code in it is run.

    Raises:
        InputError: truncated, not of these formats, or holding objects other than tensors and plain values.
    """
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    try:
        content = tensor_files.load(path)
    except tensor_files.Unsafe as error:
        raise InputError(
            f"backbone.weights: {path} {error}: save model.state_dict() alone, or convert it to .safetensors"
        ) from error
    except tensor_files.Damaged as error:
        raise InputError(f"backbone.weights: {path} {error}: copy or download it again") from error
    except OSError as error:
        raise InputError(f"backbone.weights: cannot read {path}: {error.strerror or error}") from error
    for container in CONTAINERS:
        if isinstance(content, Mapping) and isinstance(content.get(container), Mapping):
            content = content[container]
            break
    if not isinstance(content, Mapping):
        raise InputError(f"backbone.weights: {path} holds a {type(content).__name__}, not named tensors")
    return {str(key): value for key, value in content.items() if isinstance(value, Tensor)}


def _read_safetensors(path: Path) -> State:
    try:
        # Imported by name, so that type checks agree with and without this optional package.
        safetensors = importlib.import_module("safetensors")
        reader = importlib.import_module("safetensors.torch")
    except ImportError as error:
        raise InputError(f"backbone.weights: reading {path} needs `pip install safetensors`") from error
    try:
        return dict(reader.load_file(path))
    except safetensors.SafetensorError as error:
        raise InputError(f"backbone.weights: {path} is truncated or damaged ({error})") from error
    except OSError as error:
        raise InputError(f"backbone.weights: cannot read {path}: {error.strerror or error}") from error


def _read(source: str, name: str, pretrained: Mapping[str, Pretrained]) -> State:
    path = Path(source).expanduser()
    if path.is_file():
        return read_state(path)
    if source in pretrained:
        return pretrained[source].load()
    if path.suffix or len(path.parts) > 1:
        raise InputError(f"backbone.weights: there is no file {source}")
    choice = f"one of {_few(tuple(pretrained))}" if pretrained else "null (nobody publishes weights for it)"
    hint = nearest(source, pretrained).rstrip(".")
    raise InputError(
        f"backbone.weights: {source!r} is not known for {name}{hint or ':'} give {choice}, or the path of a file"
    )


def download(source: str, url: str) -> State:
    """The weights at ``url``, kept in torch's own download cache; the digest in the file name is checked.

    Raises:
        InputError: the download failed; the message says which file to put where.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[1]
    digest = re.search(r"-([0-9a-f]{8,})\.", path.name)
    if path.is_file():
        if digest and not _sha256(path).startswith(digest[1]):
            raise InputError(f"backbone.weights={source}: {path} is not what was published: delete it and run again")
        return read_state(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # This writes beside the target and moves the file there once the digest is right.
        torch.hub.download_url_to_file(url, str(path), digest and digest[1], progress=False)
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"backbone.weights={source}: cannot download {url} ({error}); fetch it on a machine with a "
            f"network and put it at {path}, or give the path of a local file as backbone.weights"
        ) from error
    return read_state(path)


def _sha256(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            found.update(block)
    return found.hexdigest()


def _trunk_entries(state: State) -> State:
    marker = "embedder.trunk."
    own = {key: tensor for key, tensor in state.items() if key.startswith(marker)}
    return own or state


def _place(key: str, target: Mapping[str, Tensor]) -> str | None:
    while key not in target:
        prefix = next((prefix for prefix in PREFIXES if key.startswith(prefix)), None)
        if prefix is None:
            return None
        key = key.removeprefix(prefix)
    return key


def _few(names: tuple[str, ...], shown: int = 4) -> str:
    rest = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {rest} more" if rest > 0 else "")
