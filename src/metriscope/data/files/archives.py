"""Published archives of data sets: fetching, checking and unpacking them to a complete folder."""

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
    """A published archive or file.

    Attributes:
        file: file name in the data folder; a file that is no archive is copied instead of unpacked.
        md5: the published checksum.
        url: its address; None if it can no longer be downloaded.
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
        name: name of the data set, for messages.
        archive: the published archive.
        folder: name of the folder in the archive, and then in ``data_dir``.
        files: files that identify the folder.
        data_dir: the folder of all data.
        download: fetch and unpack the archive if the folder does not exist.
        listed: function that reads the folder, and refuses an incomplete one.

    Raises:
        InputError: the data are missing, incomplete or broken, or cannot be downloaded.
    """
    if download:
        obtain(name, [archive], Path(data_dir) / folder, listed, inner=folder)
    remedy = "dataset.download=true fetches it where there is no such folder, paths.data_dir=... names another place"
    return listed(find_root(name, data_dir, (folder,), files, remedy))


def obtain(
    name: str, archives: Sequence[Archive], folder: Path, check: Callable[[Path], object], inner: str = "."
) -> None:
    """Makes ``folder`` from archives beside it, fetching missing ones.

    They are unpacked into a temporary folder, which is renamed after it has passed ``check``; the archives are kept.
    One process does this, and the others wait.

    Args:
        name: name of the data set.
        archives: all archives of the data set; archives put in place by hand are checked in the same way.
        folder: the resulting folder, directly in the data folder.
        check: function of the unpacked folder that raises InputError if its content is wrong.
        inner: the folder within the archives that becomes ``folder``.

    Raises:
        InputError: an archive cannot be downloaded, is not the published one, or cannot be unpacked safely.
    """
    data_dir = folder.parent

    def make() -> None:
        if folder.exists():
            return
        for archive in archives:
            _provide(name, archive, data_dir)
        draft = data_dir / f".unpacking-{folder.name}"
        shutil.rmtree(draft, ignore_errors=True)  # left by a killed process
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
