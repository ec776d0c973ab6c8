"""Unpacking untrusted archives: no file is written outside the target folder."""

import gzip
import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path, PureWindowsPath
from typing import IO

from metriscope.errors import InputError

_CHUNK = 2**20
_BROKEN = (
    *(tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, lzma.LZMAError, zlib.error),
    *(EOFError, NotImplementedError),
)


def unpack(archive: Path, folder: Path) -> None:
    """Unpacks a tar (plain, gz, bz2, xz) or zip archive into ``folder``, which should be new.

    Only files and folders are written, with default permissions.

    Raises:
        InputError: the archive is truncated, corrupt, encrypted, or of neither kind; or it holds an absolute
            path, a ``..``, a link or a device. Files unpacked before that stay: delete ``folder``.
        OSError: the folder cannot be written.
    """
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as content:
                for info in content.infolist():
                    _write(archive, folder, info.filename, _zip_kind(info), partial(content.open, info))
        else:
            with tarfile.open(archive) as tar:
                for member in tar:
                    _write(archive, folder, member.name, _tar_kind(member), partial(tar.extractfile, member))
                while tar.fileobj is not None and tar.fileobj.read(_CHUNK):
                    pass  # tarfile takes a truncation for the end, so read on to the checksum of the compression
    except _BROKEN as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{archive} is truncated or corrupt ({reason}): delete it and fetch it anew") from error


def _write(archive: Path, folder: Path, name: str, kind: str, opened: Callable[[], IO[bytes] | None]) -> None:
    path = PureWindowsPath(name)  # handles both slashes, and drives
    if path.drive or path.root or ".." in path.parts or "\0" in name:
        raise InputError(f"{archive} holds {name!r}, a path that leads out of its folder: not unpacked")
    target = folder.joinpath(*path.parts)
    if kind == "folder":
        target.mkdir(parents=True, exist_ok=True)
        return
    if kind == "encrypted file":
        raise InputError(f"{archive} is encrypted: unpack it by hand with the password that its authors give")
    if kind != "file":
        raise InputError(f"{archive} holds {name!r}, a {kind}: not unpacked")
    target.parent.mkdir(parents=True, exist_ok=True)
    source = opened()
    assert source is not None
    with source, target.open("xb") as file:
        shutil.copyfileobj(source, file, _CHUNK)


def _tar_kind(member: tarfile.TarInfo) -> str:
    if member.isdir():
        return "folder"
    if member.issym() or member.islnk():
        return "link"
    return "file" if member.isreg() else "device"


def _zip_kind(info: zipfile.ZipInfo) -> str:
    if info.is_dir():
        return "folder"
    if info.flag_bits & 1:
        return "encrypted file"
    kind = stat.S_IFMT(info.external_attr >> 16)  # 0 if the archive was not made on Unix
    if kind == stat.S_IFLNK:
        return "link"
    return "file" if kind in (0, stat.S_IFREG) else "device"
