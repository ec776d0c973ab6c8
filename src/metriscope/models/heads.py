"""Heads: from trunk features (B, F) to an embedding (B, D), before any normalisation."""

from torch import nn

from metriscope.errors import InputError

HEADS = ("linear", "mlp", "identity")


def build_head(name: str, features: int, size: int | None, hidden: int | None = None) -> tuple[nn.Module, int]:
    """The head called ``name`` and its embedding size D.

    Args:
        name: ``linear``, ``mlp`` (one hidden layer with batch norm and ReLU) or ``identity``.
        features: F, the number of features of the trunk.
        size: D; for ``identity`` None or F.
        hidden: width of the hidden layer of ``mlp``; None for F.

    Raises:
        InputError: unknown name, or a size that the head cannot have.
    """
    if name not in HEADS:
        raise InputError(f"head.name: unknown head {name!r}; there are {', '.join(HEADS)}")
    if name == "identity":
        if size not in (None, features):
            raise InputError(
                f"head.size={size} does not fit the identity head on a trunk of {features} features: "
                "set head.size=null, or use head=linear"
            )
        return nn.Identity(), features
    if size is None or size < 1:
        raise InputError(f"head.size must be a positive number of dimensions for the {name} head, got {size}")
    if name == "linear":
        return nn.Linear(features, size), size
    width = features if hidden is None else hidden
    if width < 1:
        raise InputError(f"head.hidden must be positive or null, got {hidden}")
    layers = [nn.Linear(features, width, bias=False), nn.BatchNorm1d(width), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.Linear(width, size)), size
