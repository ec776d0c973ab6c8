"""The trunk of a network: inputs (B, *shape) to features (B, F), before any head."""

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from metriscope.models.blocks import blocks_of, in_order
from metriscope.models.paired import OneSide, Pairs
from metriscope.models.weights import LoadReport, Pretrained, State

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Body:
    """The network that a trunk runs.

    Attributes:
        module: maps (B, *shape) to (B, out_features).
        out_features: F.
        in_channels: channels that the module reads; a single-channel image is repeated to fill them.
        adapt: fits foreign weights to this module's size before they are matched.
        pretrained: the weights that can be selected by name.
        position: parameter name -> number of its block, from the input on; None to number blocks by the order of
            layers.
        paired: whether the module maps B pairs to (2 B, out_features), the two rows of a pair after each other.
    """

    module: nn.Module
    out_features: int
    in_channels: int | None = None
    adapt: Callable[[State], State] | None = None
    pretrained: Mapping[str, Pretrained] = field(default_factory=dict)
    position: Mapping[str, int] | None = None
    paired: bool = False


class Trunk(nn.Module):
    """A body with the options that all trunks share: frozen parts, memory format, grey images.

    Args:
        body: the network.
        freeze: no parameter learns, the body stays in evaluation mode and runs without recording gradients.
        freeze_batch_norm: batch-norm layers keep their running statistics and affine parameters, as in
            [RDML] arXiv:2002.08473, whatever the mode set by ``train()``.
        channels_last: keep 4-d weights and inputs in the channels-last memory format.
        precision: ``bf16`` for a frozen body to compute in bfloat16 (autocast) whatever the trainer does; None
            for the trainer's precision.
        config: the name of the body and the keys that it was built from.
    """

    loaded: LoadReport | None = None

    def __init__(
        self,
        body: Body,
        *,
        freeze: bool = False,
        freeze_batch_norm: bool = False,
        channels_last: bool = False,
        precision: str | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.body = body.module
        self.out_features = body.out_features
        self.in_channels = body.in_channels
        self.paired = body.paired
        self.published = tuple(body.pretrained)
        self.config = dict(config or {})
        self._position = body.position
        self.frozen = freeze
        self.precision = precision
        self.batch_norm_frozen = freeze_batch_norm
        self.memory_format = torch.channels_last if channels_last else torch.preserve_format
        if channels_last:
            self.body.to(memory_format=torch.channels_last)
        if freeze:
            self.requires_grad_(False)
        if freeze_batch_norm:
            for layer in self._batch_norms():
                layer.requires_grad_(False)
        self.train()

    def forward(self, inputs: Tensor | Pairs | OneSide) -> Tensor:
        """Features (B, out_features) of inputs (B, *shape), in the dtype that the body computes in."""
        if isinstance(inputs, Tensor) and inputs.ndim == 4:
            if self.in_channels is not None and inputs.shape[1] == 1:
                inputs = inputs.expand(-1, self.in_channels, -1, -1)
            inputs = inputs.to(memory_format=self.memory_format)
        if not self.frozen:
            features: Tensor = self.body(inputs)
            return features
        given = inputs if isinstance(inputs, Tensor) else inputs[0]
        own = torch.autocast(given.device.type, torch.bfloat16) if self.precision == "bf16" else nullcontext()
        with torch.no_grad(), own:
            features = self.body(inputs)
        # Later layers may compute in another precision than bfloat16.
        return features if self.precision is None else features.to(given.dtype)

    def train(self, mode: bool = True) -> "Trunk":
        super().train(mode and not self.frozen)
        if self.batch_norm_frozen:
            for layer in self._batch_norms():
                layer.eval()
        return self

    def blocks(self) -> list[list[nn.Parameter]]:
        """Parameters by block, from the input to the output; every parameter of the trunk once."""
        return blocks_of(self.body) if self._position is None else in_order(self.body, self._position)

    def fingerprint(self) -> str:
        """Hexadecimal SHA-256 of all that determines the features: the body's config, its layers, and its weights.

        Includes the name, dtype, shape and bytes of every tensor, but not device and memory format. Reads all weights,
        at some hundred MB/s.
        """
        layers = json.dumps([self.config, repr(self.body)], sort_keys=True)
        digest = hashlib.sha256(layers.encode())
        for name, tensor in sorted(self.body.state_dict().items()):
            digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        return digest.hexdigest()

    def _batch_norms(self) -> list[nn.Module]:
        return [module for module in self.modules() if isinstance(module, _BatchNorm)]
