"""How many examples a network can embed at once, with its graph, within the memory that suits the device."""

import math

import torch
from torch import Tensor

from metriscope.data.inputs.late import LateInputs
from metriscope.models.network import Network
from metriscope.training.random_state import kept_random_state

_SHARE = 4
"""A GPU gives a part in so many of its memory to the graph of a chunk."""
_OTHERWISE = 512 * 2**20
"""Bytes on other devices: larger chunks make a CPU no faster."""
_EXAMPLES = 2


def fitting(network: Network, inputs: LateInputs) -> int:
    """The largest power of two of examples whose graph fits; at least 1.

    A function of shapes, dtypes and the device's memory alone, so that a run that resumes has the same chunks.
    Embeds two examples; draws nothing.
    """
    device = inputs.tensors[0].device
    with kept_random_state(device), torch.enable_grad():
        count = min(_EXAMPLES, len(inputs))
        each = kept_bytes(network, inputs.first(count)) / count
    return 1 << max(0, math.floor(math.log2(_room(device) / max(each, 1))))


def kept_bytes(network: Network, inputs: Tensor) -> int:
    """Bytes that the graph of these inputs keeps, beside the network's own parameters and buffers."""
    own = {tensor.untyped_storage().data_ptr() for tensor in (*network.parameters(), *network.buffers())}
    found: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if (place := storage.data_ptr()) not in own:
            # A view may be of less than its storage, and an expanded one of more.
            kept = min(storage.nbytes(), tensor.numel() * tensor.element_size())
            found[place] = max(kept, found.get(place, 0))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        # Not by a call, which runs the compiled network where there is one.
        outputs = network.forward(inputs)
    del outputs
    return sum(found.values())


def _room(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory) // _SHARE
    return _OTHERWISE
