"""What a model is, in plain values: its network, how images are prepared for it, and where it comes from."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from metriscope.build.normalisation import normalisation
from metriscope.build.objective import ranking_space
from metriscope.build.trained import Trained
from metriscope.config.files import choices, section
from metriscope.errors import InputError
from metriscope.parts import judge

FORMAT = 1
"""Counts up when a description changes in a way that earlier versions cannot read."""

_SECTIONS = ("backbone", "head", "augmentation")
_LIMIT_MB = 512.0


@dataclass(frozen=True)
class Description:
    """A model in plain values, as ``config.json`` of an exported one holds them.

    Attributes:
        backbone, head: sections of the run's config, without weights to load.
        augmentation: the section that says how images are brought to the size of the network.
        shape: of one example as the data set stores it: (C, H, W) of images, (F,) of vectors, (F0, F1) of pairs of
            them.
        files: whether the examples came from image files.
        mean, std: per channel on the [0, 1] scale; None for no normalisation.
        image_size: side to which files are scaled and cropped when they are read; None for their own.
        exif: whether images are turned upright by their EXIF orientation.
        image_limit_mb: MiB of memory that one decoded image may take.
        sides: names of the two modalities of pairs; None for one modality.
        source: where the model comes from: data set, protocol, loss, run, versions.
        format: see :data:`FORMAT`.
    """

    backbone: Mapping[str, Any]
    head: Mapping[str, Any]
    augmentation: Mapping[str, Any]
    shape: Annotated[Sequence[Annotated[int, Field(ge=1)]], Field(min_length=1, max_length=3)]
    files: bool
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    image_size: Annotated[int, Field(ge=1)] | None = None
    exif: bool = True
    image_limit_mb: Annotated[float, Field(gt=0)] = _LIMIT_MB
    sides: Annotated[Sequence[str], Field(min_length=2, max_length=2)] | None = None
    source: Mapping[str, Any] = field(default_factory=dict)
    format: int = FORMAT

    @classmethod
    def of_run(cls, run: Trained) -> "Description":
        """The description of a trained run.

        Raises:
            InputError: the run did not write down what its inputs are.
        """
        config, dataset = run.config, run.config["dataset"]
        if not run.inputs:
            raise InputError(f"{run.checkpoint} does not say what its inputs are: train it again with this version")
        if ranking_space(config) is not None:
            raise InputError(
                f"{run.checkpoint} ranks by a distance that is not Euclidean, and a loaded model searches by Euclidean "
                "distances alone: evaluate the run with metriscope evaluate"
            )
        shape = list(run.inputs["shape"])
        mean, std = normalisation(dataset, config["backbone"], shape[0])
        return cls(
            backbone={**config["backbone"], "weights": None},
            head=config["head"],
            augmentation=config["augmentation"],
            shape=shape,
            files=run.inputs["files"],
            mean=mean,
            std=std,
            image_size=dataset.get("image_size"),
            exif=dataset.get("exif", True),
            image_limit_mb=dataset.get("image_limit_mb", _LIMIT_MB),
            sides=run.inputs.get("sides"),
            source={
                "dataset": dataset["name"],
                "protocol": dataset["protocol"],
                "loss": config["loss"].get("name"),
                "study": config.get("study"),
                "seed": config["seed"],
                "run": run.record.identity,
                "versions": dict(run.record.versions),
            },
        )

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> "Description":
        """The description that :meth:`plain` gave; keys that this version does not know are passed over.

        Raises:
            InputError: a later format, or a value that is missing or of another type.
        """
        number = content.get("format", FORMAT)
        if not isinstance(number, int) or number > FORMAT:
            raise InputError(
                f"a later version of Metriscope wrote it (format {number}, this one reads {FORMAT}): update it"
            )
        known = {one.name: content[one.name] for one in fields(cls) if one.name in content}
        judge(cls, known)
        return cls(**known)

    def plain(self) -> dict[str, Any]:
        """All of it as values of JSON."""
        return asdict(self)

    def digest(self, state: Mapping[str, Tensor]) -> str:
        """SHA-256 of all that determines an embedding: this, but for the source, and the tensors of the network."""
        known = {key: value for key, value in self.plain().items() if key != "source"}
        if self.sides is None:  # else the digests of models of one modality would no longer be those of saved galleries
            del known["sides"]
        found = hashlib.sha256(json.dumps(known, sort_keys=True).encode())
        for name, tensor in sorted(state.items()):
            found.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            values: Any = tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
            found.update(values)
        return found.hexdigest()

    def check_parts(self) -> None:
        """Refuse parts that do not ship with Metriscope: a file that names them could name any code.

        Raises:
            InputError: naming the part.
        """
        for group in _SECTIONS:
            check_ships(group, getattr(self, group))


def check_ships(group: str, own: Mapping[str, Any]) -> None:
    """Refuse a section of a config whose part does not ship with Metriscope.

    Raises:
        InputError: naming the part.
    """
    target = str(own.get("_target_"))
    shipped = {str(section(group, name).get("_target_")) for name in choices(group)}
    within = {key: value for key, value in own.items() if key != "_target_"}
    if target not in shipped or _names_code(within):
        told = target if target not in shipped else "a part within it"
        raise InputError(
            f"{group}: {told} does not ship with Metriscope, and loading it would run its code; "
            "trust_code=True allows this, for a model whose source you know"
        )


def _names_code(value: Any) -> bool:
    if isinstance(value, Mapping):
        return "_target_" in value or any(map(_names_code, value.values()))
    return isinstance(value, list | tuple) and any(map(_names_code, value))
