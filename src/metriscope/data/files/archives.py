"""Archives that data sets are published as: from a file that is checked to a folder that is complete."""

import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from metriscope.data.files.completeness import find_root
from metriscope.data.files.download import checksum, download, fetch
from metriscope.data.files.extraction import unpack
from metriscope.data.files.listing import Listing
from metriscope.errors import InputError

log = logging.getLogger(__name__)

_PACKED = (".tgz", ".tar.gz", ".tar", ".zip")


@dataclass(frozen=True)
class Archive:
    """A published file.

    Attributes:
        file: its name, as it stands in the data folder; one that is no archive is copied instead of unpacked.
        md5: the published checksum.
        url: where it is, or None where it can no longer be had without help.
    """

    file: str
    md5: str
    url: str | None = None


def find_published(
    name: str,
    archive: Archive,
    folder: str,
    files: Sequence[str],
    data_dir: str | Path,
    download: bool,
    listed: Callable[[Path], Listing],
) -> Listing:
    """The listing of a data set that comes as one folder in one archive.

    Args:
        name: of the data set, for messages.
        archive: where it is published.
        folder: in the archive, and then in ``data_dir``.
        files: by which the folder is known.
        data_dir: the folder of all data.
        download: fetch and unpack the archive where there is no such folder.
        listed: reads the folder, and refuses one that is not complete.

    Raises:
        InputError: data that are missing, incomplete or broken, or that cannot be had.
    """
    if download:
        obtain(name, [archive], Path(data_dir) / folder, listed, inner=folder)
    remedy = "dataset.download=true fetches it where there is no such folder, paths.data_dir=... names another place"
    return listed(find_root(name, data_dir, (folder,), files, remedy))


def obtain(
    name: str, archives: Sequence[Archive], folder: Path, check: Callable[[Path], object], inner: str = "."
) -> None:
    """Makes ``folder`` from archives beside it, fetching those that are not there.

    They are unpacked into a temporary folder, which is renamed once it has passed ``check``; archives stay.
    One process does it, others that come meanwhile wait.

    Args:
        name: of the data set.
        archives: what it consists of; those put in place by hand are checked in the same way.
        folder: the result, directly in the data folder.
        check: called with the unpacked folder, raises InputError where it is not what it should be.
        inner: the folder within the archives that becomes ``folder``.

    Raises:
        InputError: an archive cannot be had, is not the published one, or cannot be unpacked safely.
    """
    data_dir = folder.parent

    def make() -> None:
        if folder.exists():
            return
        for archive in archives:
            _provide(name, archive, data_dir)
        draft = data_dir / f".unpacking-{folder.name}"
        shutil.rmtree(draft, ignore_errors=True)  # of a process that was killed
        try:
            for archive in archives:
                log.info("unpacking %s", data_dir / archive.file)
                if archive.file.endswith(_PACKED):
                    unpack(data_dir / archive.file, draft)
                else:
                    draft.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(data_dir / archive.file, draft / archive.file)
            check(draft / inner)
            (draft / inner).rename(folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    download(name, make, data_dir)


def _provide(name: str, archive: Archive, data_dir: Path) -> None:
    path = data_dir / archive.file
    if path.exists():
        found = checksum(path)
        if found != archive.md5:
            raise InputError(
                f"{path} is truncated or another file: its md5 is {found}, not {archive.md5}; delete it and run again"
            )
    elif archive.url is None:
        raise InputError(f"{name} can no longer be downloaded: put {archive.file} (md5 {archive.md5}) into {data_dir}")
    else:
        fetch(archive.url, path, archive.md5)
