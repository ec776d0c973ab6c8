import io
import os
import tarfile
from dataclasses import replace

import layouts
import pytest
from file_server import serving
from forks import in_forks

from metriscope.data.datasets import cub, sop, tiny_imagenet
from metriscope.data.files.archives import checksum
from metriscope.errors import InputError

PUBLISHED = {"images": 16}


@pytest.fixture
def birds(tmp_path, monkeypatch):
    """The archive of a small CUB-200-2011 on a server of this machine; yields the server and a data folder."""
    made = tmp_path / "made"
    layouts.cub(made)
    layouts.write(made / "attributes.txt", ["1 has_bill_shape::curved"])
    archive = layouts.pack(tmp_path / "CUB_200_2011.tgz", made, "attributes.txt", "CUB_200_2011")
    with serving(archive.read_bytes()) as server:
        monkeypatch.setattr(cub, "ARCHIVE", replace(cub.ARCHIVE, url=server.url, md5=checksum(archive)))
        monkeypatch.setattr(cub, "PUBLISHED", PUBLISHED)
        yield server, tmp_path / "data"


def content(data_dir):
    return sorted(path.name for path in data_dir.iterdir() if path.suffix != ".lock")


def test_nothing_is_fetched_unless_asked(birds):
    server, data_dir = birds
    with pytest.raises(InputError, match=r"dataset\.download=true"):
        cub.find(data_dir)
    assert server.requests == []
    assert not data_dir.exists()


def test_fetched_unpacked_and_then_left_alone(birds):
    server, data_dir = birds
    assert len(cub.find(data_dir, download=True).train) == 16
    assert content(data_dir) == ["CUB_200_2011", "CUB_200_2011.tgz"]
    assert len(cub.find(data_dir, download=True).train) == 16
    assert len(server.requests) == 1


def test_truncated_tampered_and_interrupted_archives_are_never_unpacked(birds):
    server, data_dir = birds
    whole = server.content
    server.cut_after = len(whole) // 2
    with pytest.raises(InputError, match="ended at"):
        cub.find(data_dir, download=True)
    assert content(data_dir) == ["CUB_200_2011.tgz.part"]
    server.cut_after, server.content = None, whole[:-9] + b"malicious"
    with pytest.raises(InputError, match="is not the published file"):
        cub.find(data_dir, download=True)
    assert content(data_dir) == []
    server.content = whole
    assert len(cub.find(data_dir, download=True).train) == 16


def test_an_archive_put_in_place_by_hand_is_checked(birds):
    server, data_dir = birds
    data_dir.mkdir()
    file = data_dir / "CUB_200_2011.tgz"
    file.write_bytes(server.content[:-1])
    with pytest.raises(InputError, match=r"CUB_200_2011\.tgz is truncated or another file: its md5 is .*; delete it"):
        cub.find(data_dir, download=True)
    assert content(data_dir) == ["CUB_200_2011.tgz"]
    file.write_bytes(server.content)
    assert len(cub.find(data_dir, download=True).train) == 16
    assert server.requests == []


def test_an_archive_that_is_not_complete_leaves_no_folder(birds, monkeypatch):
    _, data_dir = birds
    monkeypatch.setattr(cub, "PUBLISHED", {"images": 17})
    with pytest.raises(InputError, match="16 images instead of 17"):
        cub.find(data_dir, download=True)
    assert content(data_dir) == ["CUB_200_2011.tgz"]
    assert len(cub.find(data_dir, download=True, verify=False).train) == 16


def test_leftovers_of_a_process_that_was_killed(birds):
    _, data_dir = birds
    (data_dir / ".unpacking-CUB_200_2011" / "CUB_200_2011").mkdir(parents=True)
    (data_dir / ".unpacking-CUB_200_2011" / "CUB_200_2011" / "images.txt").write_text("half")
    assert len(cub.find(data_dir, download=True).train) == 16


def test_an_archive_that_would_write_elsewhere(birds, monkeypatch):
    _, data_dir = birds
    evil = io.BytesIO()
    with tarfile.open(fileobj=evil, mode="w:gz") as tar:
        info = tarfile.TarInfo("CUB_200_2011/../../outside.txt")
        info.size = 4
        tar.addfile(info, io.BytesIO(b"evil"))
    data_dir.mkdir()
    (data_dir / "CUB_200_2011.tgz").write_bytes(evil.getvalue())
    md5 = checksum(data_dir / "CUB_200_2011.tgz")
    monkeypatch.setattr(cub, "ARCHIVE", replace(cub.ARCHIVE, md5=md5))
    with pytest.raises(InputError, match="leads out of its folder"):
        cub.find(data_dir, download=True)
    assert content(data_dir) == ["CUB_200_2011.tgz"]
    assert not (data_dir.parent / "outside.txt").exists()


def test_processes_that_start_together_fetch_once(birds):
    server, data_dir = birds

    def find():
        (data_dir.parent / f"found-{os.getpid()}").write_text(str(len(cub.find(data_dir, download=True).train)))

    in_forks([find] * 3)
    assert [path.read_text() for path in data_dir.parent.glob("found-*")] == ["16"] * 3
    assert len(server.requests) == 1
    assert content(data_dir) == ["CUB_200_2011", "CUB_200_2011.tgz"]


@pytest.mark.parametrize(
    ("dataset", "make", "folder"),
    [
        (sop, layouts.sop, "Stanford_Online_Products"),
        (tiny_imagenet, layouts.tiny_imagenet, "tiny-imagenet-200"),
    ],
)
def test_zip_archives(tmp_path, monkeypatch, dataset, make, folder):
    images = sum(make(tmp_path / "made"))
    archive = layouts.pack(tmp_path / dataset.ARCHIVE.file, tmp_path / "made", folder)
    with serving(archive.read_bytes()) as server:
        monkeypatch.setattr(dataset, "ARCHIVE", replace(dataset.ARCHIVE, url=server.url, md5=checksum(archive)))
        monkeypatch.setattr(dataset, "PUBLISHED", {"images": images})
        listing = dataset.find(tmp_path / "data", download=True)
    assert sum(map(len, listing.parts.values())) == images
    assert content(tmp_path / "data") == sorted([folder, dataset.ARCHIVE.file])
