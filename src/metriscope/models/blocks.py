"""Parameters of a network grouped by depth, for learning rates that fall towards the input."""

from collections.abc import Mapping

from torch import nn
from torch.nn import Parameter


def in_order(net: nn.Module, position: Mapping[str, int]) -> list[list[Parameter]]:
    """The parameters of ``net`` grouped by ``position[name]``, lowest first, those without a position last."""
    found: dict[int, list[Parameter]] = {}
    for name, parameter in net.named_parameters():
        found.setdefault(position.get(name, max(position.values())), []).append(parameter)
    return [found[key] for key in sorted(found)]


def blocks_of(net: nn.Module) -> list[list[Parameter]]:
    """The parameters of ``net`` by block, from the input to the output; every parameter once.

    A block is a layer or a residual block. A list of layers is split into its layers, and so is a module that holds
    most of the parameters, such as a transformer's encoder. Layers whose parameters are all vectors (norms) belong to
    the block before them, tokens and position embeddings to the first.
    """
    whole = sum(parameter.numel() for parameter in net.parameters())
    blocks: list[list[Parameter]] = []
    inputs: list[Parameter] = []

    def visit(module: nn.Module) -> None:
        inputs.extend(module.parameters(recurse=False))
        for child in module.children():
            parameters = list(child.parameters())
            listed = isinstance(child, nn.Sequential | nn.ModuleList | nn.ModuleDict)
            most = 2 * sum(parameter.numel() for parameter in parameters) > whole
            if (listed or most) and any(True for _ in child.children()):
                visit(child)
            elif blocks and all(parameter.ndim < 2 for parameter in parameters):
                blocks[-1].extend(parameters)
            elif parameters:
                blocks.append(parameters)

    visit(net)
    return [inputs + blocks[0], *blocks[1:]] if blocks else [inputs] if inputs else []
