"""A model as an ONNX graph, from pixels to embeddings, compared with torch before anything is written."""

import io
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from metriscope.data.inputs.augment import Augmentation
from metriscope.data.inputs.images import ImageFiles
from metriscope.data.loading import load_splits
from metriscope.errors import InputError
from metriscope.evaluation.search.neighbors import nearest
from metriscope.seeds import generator
from metriscope.serving.description import check_ships
from metriscope.serving.embedder import Embedder

OUTPUT = "embeddings"
DEVIATION = 1e-5
"""Largest deviation from torch that is accepted, in lengths of an embedding where that is above 1."""
SAME = 0.999
"""Smallest share of queries with the same neighbours that is accepted."""
NEIGHBOURS = 10
TIE = 1e-6
"""Distances that differ by less, in the same lengths, are equal up to the rounding of float32."""

_QUERIES = 1000
_BATCH, _ALONE = 50, 3
_OPSET = 17


@dataclass(frozen=True)
class Check:
    """How far a graph is from torch.

    Attributes:
        images: ``test`` for images of the run's test part, else ``random``.
        queries: how many were compared, each searched for among the others.
        deviation: see :data:`DEVIATION`.
        same: share of queries whose nearest neighbours are those of torch, up to ties.
    """

    images: Literal["test", "random"]
    queries: int
    deviation: float
    same: float

    def plain(self) -> dict[str, Any]:
        """All of it as values of JSON."""
        return asdict(self)


class _Graph(nn.Module):
    """From examples of the size that the network reads, not normalised, to embeddings."""

    factor: Tensor
    shift: Tensor

    def __init__(self, model: Embedder) -> None:
        super().__init__()
        self.network = model.network
        self.augmentation = model.preparation.augmentation
        self.own = type(self.augmentation) is not Augmentation
        factor, shift = self.augmentation.affine
        self.register_buffer("factor", factor)
        self.register_buffer("shift", shift)

    def forward(self, inputs: Tensor) -> Tensor:
        if self.own:
            prepared = self.augmentation(inputs, stored=True)
        elif inputs.is_floating_point():
            prepared = inputs
        else:
            # The exporter cannot read the in-place operation of the augmentation.
            prepared = inputs.float() * self.factor + self.shift
        z: Tensor = self.network(prepared).z
        return z


def input_name(model: Embedder) -> str:
    """What the graph of a model calls its input."""
    return "pixels" if model.preparation.of_images else "vectors"


def require() -> None:
    """Raises InputError where a package that the export to ONNX needs is not installed."""
    for name in ("onnx", "onnxruntime"):
        try:
            import_module(name)
        except ImportError as error:
            raise InputError(f"--onnx needs a package: pip install {name} (the extra: metriscope[onnx])") from error


def graph(model: Embedder) -> bytes:
    """The ONNX file of a model on the CPU, for any number of examples at once.

    Raises:
        InputError: the exporter cannot read the network.
    """
    if model.network.trunk.paired:
        raise InputError("a model of pairs has an input for each modality, and a graph has one: export without --onnx")
    if model.network.trunk.precision is not None:
        raise InputError(
            f"the trunk computes in {model.network.trunk.precision} (backbone.precision), which ONNX Runtime does not "
            "on a CPU: export without --onnx"
        )
    example = torch.zeros(2, *model.preparation.input_shape)
    if model.preparation.of_images:
        example = example.to(torch.uint8)
    name = input_name(model)
    file: Any = io.BytesIO()
    fast = torch.backends.mha.get_fastpath_enabled()
    # The fast form of attention is one operation, which the exporter does not know.
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            # The exporter of newer versions takes ten times as long, for the same graph.
            torch.onnx.export(
                _Graph(model).eval(),
                (example,),
                file,
                input_names=[name],
                output_names=[OUTPUT],
                dynamic_axes={name: {0: "batch"}, OUTPUT: {0: "batch"}},
                opset_version=_OPSET,
                dynamo=False,
            )
    except Exception as error:  # of whatever kind, it says that a layer is not supported
        line = (" ".join(str(error).split()) or type(error).__name__)[:200]
        raise InputError(f"the network cannot be exported to ONNX: {line}") from error
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    content: bytes = file.getvalue()
    return content


def checked(content: bytes, model: Embedder, examples: Tensor, images: Literal["test", "random"]) -> Check:
    """Compare a graph with torch, in batches of one and of several.

    Args:
        content: of the ONNX file.
        model: what it has to agree with.
        examples: as :meth:`Preparation.pixels` gives them, (N, ...).
        images: what they are.

    Raises:
        InputError: ONNX Runtime cannot run the graph, or it deviates.
    """
    wanted = torch.cat([_by_torch(model, batch) for batch in _batches(examples, _BATCH)])
    session = _session(content)
    try:
        alone = torch.cat([_by_onnx(session, model, batch) for batch in _batches(examples[:_ALONE], 1)])
        found = torch.cat([_by_onnx(session, model, batch) for batch in _batches(examples, _BATCH)])
    except Exception as error:
        raise InputError(f"ONNX Runtime cannot run the graph: {' '.join(str(error).split())[:200]}") from error
    if alone.shape != wanted[:_ALONE].shape or found.shape != wanted.shape:
        raise InputError(f"the ONNX graph gives {tuple(found.shape)} where torch gives {tuple(wanted.shape)}")
    deviation = max(_deviation(alone, wanted[:_ALONE]), _deviation(found, wanted))
    check = Check(images, len(examples), deviation, _same(found, wanted))
    if not (deviation <= DEVIATION and check.same >= SAME):
        raise InputError(
            f"the ONNX graph deviates from torch by {deviation:.2g}, and {check.same:.2%} of {check.queries} queries "
            f"have the same {NEIGHBOURS} neighbours; at most {DEVIATION:g} and at least {SAME:.1%} are accepted: "
            "export without --onnx"
        )
    return check


def examples_of(config: Mapping[str, Any], model: Embedder, trust_code: bool) -> tuple[Tensor, str | None]:
    """Up to 1,000 examples of the test part of a run, or random ones, and why it is these.

    Args:
        config: of the run.
        model: that was trained.
        trust_code: allow a data set that does not ship.
    """
    try:
        if not trust_code:
            check_ships("dataset", config["dataset"])
        given = {key: value for key, value in config["dataset"].items() if key != "download"}
        inputs: Any = load_splits(given).test.inputs
        places = torch.linspace(0, len(inputs) - 1, min(_QUERIES, len(inputs))).long()
        if isinstance(inputs, Tensor):
            return inputs[places], None
        if isinstance(inputs, ImageFiles):
            inputs = replace(inputs, transform=model.preparation.augmentation.stored[1])
        return inputs.fetch(places), None
    except Exception as error:  # whatever keeps the data from being read, random examples do as well
        return random_examples(model), " ".join(str(error).split()) or type(error).__name__


def random_examples(model: Embedder, number: int = _QUERIES) -> Tensor:
    """Examples as :meth:`Preparation.pixels` gives them: vectors of normal values, or pictures of smooth spots."""
    preparation, source = model.preparation, generator(0, "onnx")
    if not preparation.of_images:
        return torch.randn(number, *preparation.shape, generator=source)
    C, H, W = preparation.input_shape if model.described.files else preparation.shape
    spots = torch.rand(number, C, 4, 4, generator=source)
    smooth = nn.functional.interpolate(spots, (H, W), mode="bilinear", align_corners=False)
    grain = 0.1 * torch.rand(number, C, H, W, generator=source)
    return ((smooth + grain) / 1.1 * 255).to(torch.uint8)


def _batches(examples: Tensor, size: int) -> list[Tensor]:
    return [examples[start : start + size] for start in range(0, len(examples), size)]


@torch.inference_mode()
def _by_torch(model: Embedder, examples: Tensor) -> Tensor:
    z: Tensor = model.network(model.preparation.batch(list(examples), model.device)).z
    return z.cpu()


def _by_onnx(session: Any, model: Embedder, examples: Tensor) -> Tensor:
    examples = model.preparation.sized(examples)
    return torch.from_numpy(session.run(None, {input_name(model): np.ascontiguousarray(examples.numpy())})[0])


def _session(content: bytes) -> Any:
    runtime = import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 4  # fatal errors only; others are raised as well
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        return runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise InputError(f"ONNX Runtime cannot read the graph: {' '.join(str(error).split())[:200]}") from error


def _deviation(found: Tensor, wanted: Tensor) -> float:
    lengths = wanted.double().norm(dim=1, keepdim=True).clamp_min(1)
    return float(((found.double() - wanted.double()).abs() / lengths).max())


def _same(found: Tensor, wanted: Tensor) -> float:
    """The share of rows whose nearest others by ``found`` are, by ``wanted``, no further than the nearest ones."""
    if not (bool(found.isfinite().all()) and len(found) > 1):
        return float(bool(found.isfinite().all()))
    exact = wanted.double()
    by_torch, by_onnx = (nearest(rows, rows, NEIGHBOURS, exclude_self=True) for rows in (wanted, found))
    furthest, reached = (
        torch.stack([(exact[row] - exact[places]).norm(dim=1).max() for row, places in enumerate(chosen)])
        for chosen in (by_torch, by_onnx)
    )
    scale = exact.norm(dim=1).clamp_min(1)
    return float((reached <= furthest + TIE * scale).double().mean())
