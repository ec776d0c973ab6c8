"""Fetching data sets through torchvision, one process at a time."""

from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from metriscope.errors import InputError


def download(name: str, fetch: Callable[[], object], data_dir: Path) -> None:
    """Runs ``fetch``; processes that start together wait for the first one.

    Raises:
        InputError: the folder cannot be written or nothing could be fetched.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with FileLock(data_dir / f".{name}.lock"):
            fetch()
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"cannot download {name} to {data_dir}: {reason}; put its files there by hand") from error


def missing(name: str, files: list[str], folder: Path) -> InputError:
    return InputError(
        f"{name} is not complete: {', '.join(files)} missing in {folder}; dataset.download=true fetches "
        "them, paths.data_dir=<folder> names another place"
    )
