import gzip
import io
import stat
import tarfile
import zipfile

import pytest

from metriscope.data.files.extraction import unpack
from metriscope.errors import InputError


def tar(path, *members, mode="w:gz"):
    """Members as (name, content) or TarInfo."""
    with tarfile.open(path, mode) as content:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                content.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size, info.mode = len(member[1]), 0o4777
                content.addfile(info, io.BytesIO(member[1]))
    return path


def special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def zipped(path, *members):
    with zipfile.ZipFile(path, "w") as content:
        for name, data, mode in members:
            info = zipfile.ZipInfo(name)
            info.create_system, info.external_attr = 3, mode << 16
            content.writestr(info, data)
    return path


def everything(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("ending", "mode"), [("tgz", "w:gz"), ("tar", "w"), ("tar.bz2", "w:bz2"), ("tar.xz", "w:xz")])
def test_tar(tmp_path, ending, mode):
    archive = tar(
        tmp_path / f"a.{ending}", special("d", tarfile.DIRTYPE), ("d/ü.txt", b"1"), ("./e/f", b"2"), mode=mode
    )
    unpack(archive, tmp_path / "out")
    assert everything(tmp_path / "out") == {"d/ü.txt": b"1", "e/f": b"2"}
    assert not (tmp_path / "out" / "d" / "ü.txt").stat().st_mode & (stat.S_ISUID | stat.S_IXUSR)


def test_zip(tmp_path):
    archive = zipped(tmp_path / "a.zip", ("d/", "", 0), ("d/x", b"1", 0), ("y", b"2", stat.S_IFREG | 0o644))
    unpack(archive, tmp_path / "out")
    assert everything(tmp_path / "out") == {"d/x": b"1", "y": b"2"}


OUTSIDE = ["/etc/x", "../x", "a/../../x", "a/..", "..\\x", "C:\\x", "\\\\host\\share\\x"]


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_paths_that_lead_out(tmp_path, name, kind):
    archive = tmp_path / f"a.{kind}"
    tar(archive, (name, b"evil"), mode="w") if kind == "tar" else zipped(archive, (name, b"evil", 0))
    with pytest.raises(InputError, match="leads out of its folder: not unpacked") as error:
        unpack(archive, tmp_path / "inner" / "out")
    assert "\n" not in str(error.value)
    assert not list(tmp_path.rglob("x"))


@pytest.mark.parametrize(
    ("member", "word"),
    [
        (special("a", tarfile.SYMTYPE, "/etc/passwd"), "link"),
        (special("a", tarfile.SYMTYPE, "b"), "link"),
        (special("a", tarfile.LNKTYPE, "../b"), "link"),
        (special("a", tarfile.CHRTYPE), "device"),
        (special("a", tarfile.FIFOTYPE), "device"),
    ],
)
def test_links_and_devices_in_tar(tmp_path, member, word):
    archive = tar(tmp_path / "a.tgz", ("b", b"1"), member, ("a/x", b"evil"))
    with pytest.raises(InputError, match=f"holds 'a', a {word}: not unpacked"):
        unpack(archive, tmp_path / "out")
    assert everything(tmp_path / "out") == {"b": b"1"}


def test_links_and_devices_in_zip(tmp_path):
    for kind, word in ((stat.S_IFLNK, "link"), (stat.S_IFCHR, "device")):
        archive = zipped(tmp_path / "a.zip", ("a", b"/etc/passwd", kind | 0o777))
        with pytest.raises(InputError, match=f"holds 'a', a {word}: not unpacked"):
            unpack(archive, tmp_path / "out")


def test_encrypted_zip(tmp_path):
    archive = zipped(tmp_path / "a.zip", ("x", b"secret", 0))
    content = bytearray(archive.read_bytes())
    for header, place in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.index(header) + place] |= 1
    archive.write_bytes(content)
    with pytest.raises(InputError, match="is encrypted: unpack it by hand"):
        unpack(archive, tmp_path / "out")


def test_truncated_and_corrupt(tmp_path):
    data = bytes(range(256)) * 400
    whole = tar(tmp_path / "a.tgz", ("x", data)).read_bytes()
    plain = gzip.decompress(whole)
    zip_file = zipped(tmp_path / "a.zip", ("x", data, 0)).read_bytes()
    flipped = zip_file.replace(data[:512], data[:511] + b"\0", 1)
    cases = [whole[:-20], whole[:200], whole[:30] + b"\0" * 40 + whole[70:], plain[:50_000], zip_file[:-30], flipped]
    for i, content in enumerate([*cases, b"", b"<html>not found</html>"]):
        (tmp_path / "broken").write_bytes(content)
        with pytest.raises(InputError, match=r"broken is truncated or corrupt \(.*\): delete it") as error:
            unpack(tmp_path / "broken", tmp_path / f"out{i}")
        assert "\n" not in str(error.value)
