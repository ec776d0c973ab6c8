"""Gradient caching: a batch is embedded in chunks, so that its size is not bound by what the network keeps of it."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.hooks import RemovableHandle

from metriscope.data.inputs.late import LateInputs
from metriscope.errors import InputError
from metriscope.models.network import Embedding, Features, Network
from metriscope.training.chunk_size import fitting
from metriscope.training.random_state import kept_random_state, random_state, set_random_state

_SHOWN = 3


class Chunks:
    """Embeds batches in chunks, with the values and gradients of one pass.

    The chunks are embedded without a graph, so that a loss of any kind sees the whole batch. Once the gradients of the
    loss by the embeddings, and by the features of the trunk, are known, each chunk is embedded again from the same
    random state, in the same precision, and followed back; the sums over chunks are the gradients of the parameters.
    As in GradCache (arXiv:2101.06983), but as one function in the graph: each parameter gets its gradient once, whoever
    scales, clips, accumulates or reduces it, and several batches may wait for their backward pass.

    Costs one more forward pass, and memory of one chunk and one more gradient. The network has to treat each example on
    its own. A batch of no more than ``size`` examples is embedded in one pass, with its graph. A hook on a parameter
    sees what each chunk adds, and then the sum.

    Args:
        size: examples of a chunk; ``auto`` for as many as fit, see :func:`metriscope.training.chunk_size.fitting`.
    """

    def __init__(self, size: int | Literal["auto"]) -> None:
        self.size = size
        self._told = False

    def __call__(self, network: Network, inputs: Tensor | Features | LateInputs) -> Embedding:
        """The embeddings of a batch.

        Raises:
            InputError: a layer changes its state in a forward pass.
        """
        late = inputs if isinstance(inputs, LateInputs) else LateInputs(inputs, _as_it_is)
        if self.size == "auto":
            self.size = fitting(network, late)
        if len(late) <= self.size:
            whole: Embedding = network(late.whole())
            return whole
        learning = {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}
        passes = _Passes(self, network, late, list(learning))
        outputs = _Replayed.apply(passes, late.tensors, *learning.values())
        return Embedding(*(outputs[place] for place in passes.places))

    def tell_unused(self, names: Sequence[str]) -> None:
        """Warn once of parameters without a gradient."""
        if names and not self._told:
            warnings.warn(
                f"{_listed(names)} of the network get no gradient, as the loss does not depend on them: freeze them, "
                "or leave them out",
                stacklevel=2,
            )
        self._told = True


def check_chunks(network: Network, size: Any) -> None:
    """Refuse a network whose embedding of an example depends on the others of its batch.

    Raises:
        InputError: batch norm in training mode; says the key that freezes it.
    """
    counting = {
        part: [name for name, layer in module.named_modules() if isinstance(layer, _BatchNorm) and layer.training]
        for part, module in (("backbone", network.trunk), ("head", network.head))
    }
    cures = {"backbone": "set backbone.freeze_batch_norm=true", "head": "choose a head without it, such as head=linear"}
    found = [part for part, layers in counting.items() if layers]
    if found:
        raise InputError(
            f"trainer.embed_chunk={size}: batch norm of the {' and the '.join(found)} goes by the whole batch, which "
            f"no chunk has: {', and '.join(cures[part] for part in found)}"
        )


class _Passes:
    """The two passes over the chunks of a batch; holds no tensor of the batch.

    Attributes:
        places: for each of the network's outputs, which of the distinct ones it is.
    """

    def __init__(self, chunks: Chunks, network: Network, inputs: LateInputs, names: Sequence[str]) -> None:
        assert chunks.size != "auto"
        self.chunks = chunks
        self.network = network
        self.names = names
        self.read = inputs.read
        self.rows = [slice(*ends) for ends in pairwise([*range(0, len(inputs), chunks.size), len(inputs)])]
        # Outputs of pairs have two rows for each.
        self.each = 2 if network.trunk.paired else 1
        self.device = inputs.tensors[0].device
        self.precision = _Precision(self.device.type)
        self.states: list[list[Tensor]] = []
        self.places: list[int] = []

    def forward(self, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The distinct outputs of the network for the whole batch, without a graph."""
        found: list[list[Tensor]] = []
        state = [(name, buffer, buffer._version) for name, buffer in self.network.named_buffers()]
        # A compiled network is one graph for both passes, which therefore draws the same.
        with torch.set_grad_enabled(self.network._compiled_call_impl is not None):
            for rows in self.rows:
                self.states.append(random_state(self.device))
                outputs = self._embed(tensors, rows)
                identities = [id(output) for output in outputs]
                distinct = list(dict.fromkeys(identities))
                self.places = [distinct.index(one) for one in identities]
                found.append([outputs[identities.index(one)].detach() for one in distinct])
        # What was cast without a graph is of no use to those who need one.
        torch.clear_autocast_cache()
        if changed := [name for name, buffer, version in state if buffer._version != version]:
            raise InputError(
                f"trainer.embed_chunk: {_listed(changed)} of the network change in a forward pass, so that two passes "
                "differ: freeze the layer, or leave trainer.embed_chunk out"
            )
        return tuple(torch.cat(parts) for parts in zip(*found, strict=True))

    def backward(
        self, tensors: Sequence[Tensor], parameters: Sequence[Tensor], gradients: Sequence[Tensor | None]
    ) -> list[Tensor | None]:
        """The gradients of the parameters, from those of the distinct outputs."""
        sums = _Sums(parameters)
        with kept_random_state(self.device), sums.taking():
            for rows, state in zip(self.rows, self.states, strict=True):
                set_random_state(self.device, state)
                self._follow_back(tensors, rows, parameters, gradients)
        totals = sums.totals()
        self.chunks.tell_unused([name for name, total in zip(self.names, totals, strict=True) if total is None])
        return totals

    def _follow_back(
        self,
        tensors: Sequence[Tensor],
        rows: slice,
        parameters: Sequence[Tensor],
        gradients: Sequence[Tensor | None],
    ) -> None:
        """Finds what a chunk adds to the gradients of the parameters, which the sums take."""
        with torch.enable_grad(), self.precision.restored():
            outputs = dict(zip(self.places, self._embed(tensors, rows), strict=True))
        of_chunk = slice(self.each * rows.start, self.each * rows.stop)
        known = [
            (outputs[k], g[of_chunk]) for k, g in enumerate(gradients) if g is not None and outputs[k].requires_grad
        ]
        if known:
            values, pulls = zip(*known, strict=True)
            torch.autograd.grad(values, parameters, pulls, allow_unused=True)

    def _embed(self, tensors: Sequence[Tensor], rows: slice) -> Embedding:
        embedding: Embedding = self.network(self.read([tensor[rows] for tensor in tensors]))
        return embedding


class _Replayed(torch.autograd.Function):
    """The outputs of a network for a batch, whose graph is made anew, chunk by chunk, when gradients come back."""

    @staticmethod
    def forward(ctx: Any, passes: _Passes, tensors: tuple[Tensor, ...], *parameters: Tensor) -> tuple[Tensor, ...]:
        outputs = passes.forward(tensors)
        *embeddings, features = passes.places
        learns = any(parameter.requires_grad for parameter in passes.network.trunk.parameters())
        if not learns and features not in embeddings:
            ctx.mark_non_differentiable(outputs[features])
        ctx.passes, ctx.count = passes, len(tensors)
        # Saved, so that a change in place is an error and that they are freed after the backward pass.
        ctx.save_for_backward(*tensors, *parameters)
        ctx.set_materialize_grads(False)
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> Any:
        saved = ctx.saved_tensors
        return None, None, *ctx.passes.backward(saved[: ctx.count], saved[ctx.count :], gradients)


class _Sums:
    """Sums over chunks, of at least float32: half precision would lose what small gradients add.

    A gradient is added when it is found, and let go, so that those of a chunk are never there all at once. Sums are
    made before the chunks are embedded: what lasts would otherwise lie in pieces between what does not.
    """

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self._parameters = parameters
        wide = [torch.promote_types(parameter.dtype, torch.float32) for parameter in parameters]
        self._sums = [torch.zeros_like(p, dtype=dtype) for p, dtype in zip(parameters, wide, strict=True)]
        self._used = [False] * len(parameters)

    @contextmanager
    def taking(self) -> Iterator[None]:
        """Within, whatever is found as the gradient of a parameter is added; the gradient itself becomes 0."""
        hooks = [_hooked(parameter, partial(self._take, at)) for at, parameter in enumerate(self._parameters)]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _take(self, place: int, gradient: Tensor | None) -> Tensor | None:
        if gradient is None:
            return None
        self._sums[place].add_(gradient)
        self._used[place] = True
        # One number that stands for all of them.
        return gradient.new_zeros(()).expand_as(gradient)

    def totals(self) -> list[Tensor | None]:
        """In the dtypes of the parameters; None for one that no chunk depends on."""
        every = zip(self._sums, self._parameters, self._used, strict=True)
        return [total.to(parameter.dtype) if used else None for total, parameter, used in every]


def _hooked(parameter: Tensor, taken: Callable[[Tensor | None], Tensor | None]) -> RemovableHandle:
    handle: RemovableHandle = parameter.register_hook(taken)  # type: ignore[no-untyped-call]
    return handle


class _Precision:
    """The autocast and the default dtype that hold where it is made."""

    def __init__(self, device: str) -> None:
        self.autocast: dict[str, Any] = {
            "device_type": device,
            "dtype": torch.get_autocast_dtype(device),
            "enabled": torch.is_autocast_enabled(device),
            "cache_enabled": torch.is_autocast_cache_enabled(),
        }
        self.default = torch.get_default_dtype()

    @contextmanager
    def restored(self) -> Iterator[None]:
        default = torch.get_default_dtype()
        torch.set_default_dtype(self.default)
        try:
            with torch.autocast(**self.autocast):
                yield
                # An autocast around the backward pass would go on with the casts of this chunk.
                torch.clear_autocast_cache()
        finally:
            torch.set_default_dtype(default)


def _listed(names: Sequence[str]) -> str:
    further = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + further


def _as_it_is(inputs: Any) -> Any:
    return inputs
