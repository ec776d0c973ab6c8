"""Optimisers with a learning rate per part of the model."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch.nn import Parameter
from torch.optim import Optimizer

from metriscope.errors import InputError
from metriscope.parts import locate


def build_optimizer(
    cfg: Mapping[str, Any], groups: Mapping[str, list[Parameter]], blocks: Sequence[list[Parameter]] = ()
) -> Optimizer:
    """A torch optimiser with one named parameter group per part that learns.

    With ``layer_decay`` each block of the trunk is a group, from ``trunk.0`` at the input on: block k of n learns at
    ``lr_trunk * layer_decay ** (n - k)``, as in BEiT (arXiv:2106.08254), where the head has depth n.

    Args:
        cfg: ``name``, ``lr``, ``lr_<group>`` (None: ``lr``), ``layer_decay`` (None: one rate for the whole trunk),
            and the torch optimiser's own arguments.
        groups: parameters of ``trunk``, ``head`` and ``loss``; frozen parameters, and groups of nothing but frozen
            parameters, are left out.
        blocks: the parameters of the trunk from the input to the output.

    Raises:
        InputError: unknown optimiser, an argument it does not take, or nothing to train.
    """
    own = {str(key): cfg[key] for key in cfg}
    name, lr, layer_decay = own.pop("name"), own.pop("lr"), own.pop("layer_decay", None)
    rates = {key.removeprefix("lr_"): own.pop(key) for key in list(own) if key.startswith("lr_")}
    if stray := set(rates) - set(groups):
        raise InputError(f"optimizer.lr_{min(stray)}: there is no such part; there are {', '.join(groups)}")
    if layer_decay is not None and not 0 < layer_decay <= 1:
        raise InputError(f"optimizer.layer_decay must be above 0 and at most 1, got {layer_decay}")
    pieces = []
    for part, parameters in groups.items():
        rate = lr if rates.get(part) is None else rates[part]
        if part == "trunk" and layer_decay is not None:
            depth = len(blocks)
            pieces += [(f"trunk.{k}", block, rate * layer_decay ** (depth - k)) for k, block in enumerate(blocks)]
        else:
            pieces.append((part, parameters, rate))
    parts = []
    for part, parameters, rate in pieces:
        learning = [parameter for parameter in parameters if parameter.requires_grad]
        if learning:
            parts.append({"params": learning, "lr": rate, "name": part})
    if not parts:
        raise InputError(
            "nothing to train: the trunk is frozen and neither head nor loss has parameters; "
            "set backbone.freeze=false or head=linear"
        )
    if "betas" in own:
        own["betas"] = tuple(own["betas"])
    build: Callable[..., Optimizer] = locate(own.pop("_target_"), "optimizer.")
    try:
        return build(parts, lr=lr, **own)
    except (TypeError, ValueError) as error:
        raise InputError(f"optimizer {name}: {error}") from error
