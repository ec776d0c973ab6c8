"""Opens the folder of a run that has finished, for whoever goes on with its weights. Imports no torch."""

from pathlib import Path
from typing import Any

from yaml import YAMLError

from metriscope.config.completing import in_words_of_today
from metriscope.config.evaluates import EVALUATES
from metriscope.errors import InputError
from metriscope.reading import parse_yaml, read_bytes
from metriscope.run.folder import Run
from metriscope.run.identity import folder_of
from metriscope.run.record import FINISHED, read_record

_SUCH_AS = "such as outputs/default/digits-small_cnn/triplet-all/seed0-1a2b3c4d"
# Some hundred times the size of a config.
_BYTES = 2**18


def finished_run(folder: Path) -> Run:
    """The run of a folder, which is not opened for writing.

    Raises:
        InputError: it is no run folder, its run has not finished or trained nothing, or its files cannot be read.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give that of a run, {_SUCH_AS}")
    record = read_record(folder)
    if record is None:
        raise InputError(f"{folder} is no run folder, as it has no run.json; give that of a run, {_SUCH_AS}")
    if record.status != FINISHED:
        why = f": {record.reason}" if record.reason else ""
        raise InputError(f"{folder} is not finished ({record.status}{why}): the command that began it goes on with it")
    config = _config(folder / "config.yaml")
    if config.get(EVALUATES):
        raise InputError(f"{folder} is an evaluation and has no weights of its own: give the run that it evaluates")
    return Run(folder, config, record)


def study_of(run: Run) -> tuple[Path, str]:
    """The output folder and the name of the study in whose folder a run lies; those of its config if it lies alone."""
    study = str(run.config["study"])
    place = run.folder.resolve()
    own = folder_of({**run.config, "paths": {"output_dir": ""}, "study": ""})
    if place.parts[-3:-1] != own.parts[-3:-1]:
        return Path(run.config["paths"]["output_dir"]), study
    above = place.parents[2]
    if above.as_posix().endswith(f"/{study}"):
        return Path(above.as_posix().removesuffix(f"/{study}")), study
    return above.parent, above.name


def _config(path: Path) -> dict[str, Any]:
    try:
        found = parse_yaml(read_bytes(path, _BYTES))
        if not isinstance(found, dict) or "seed" not in found:
            raise ValueError("no config of a run")
        return in_words_of_today(found)[0]
    except (OSError, ValueError, YAMLError) as error:
        line = " ".join(str(error).split())[:160]
        raise InputError(f"{path} is not readable ({line}): without it there is no network to load") from error
