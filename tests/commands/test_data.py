import subprocess
import sys
from dataclasses import replace

import layouts
import pytest

from metriscope import cli
from metriscope.data.datasets import cub
from metriscope.data.files.archives import checksum


@pytest.fixture
def prepare(tmp_path, monkeypatch):
    """Runs the command in this process, where the published counts and the archive are those of a small copy."""
    monkeypatch.setattr(cub, "PUBLISHED", {"images": 16})

    def run(*words):
        return cli.run("data", [*words, "--data-dir", str(tmp_path)])

    return run


def test_verifies_a_copy(prepare, tmp_path, capsys):
    assert prepare("cub") == 2
    assert "cub: CUB-200-2011 is not complete: images.txt" in capsys.readouterr().err
    layouts.cub(tmp_path)
    assert prepare("cub", "--decode") == 0
    assert capsys.readouterr().out == (
        "cub: complete, 16 images, 4 classes, 7 images in the first half of the classes, "
        "9 images in the last half of the classes, all of them readable\n"
    )


def test_unreadable_images_are_named(prepare, tmp_path, capsys):
    layouts.cub(tmp_path)
    broken = sorted((tmp_path / "CUB_200_2011" / "images").rglob("*.jpg"))[3]
    broken.write_bytes(broken.read_bytes()[:200])
    assert prepare("cub") == 0
    assert prepare("cub", "--decode") == 2
    shown = capsys.readouterr().err
    assert f"cannot read the image {broken}: " in shown
    assert "cub: 1 of 16 images cannot be read" in shown


def test_unpacks_an_archive_and_goes_on_to_the_next_name(prepare, tmp_path, capsys, monkeypatch):
    layouts.cub(tmp_path / "made")
    archive = layouts.pack(tmp_path / "CUB_200_2011.tgz", tmp_path / "made", "CUB_200_2011")
    monkeypatch.setattr(cub, "ARCHIVE", replace(cub.ARCHIVE, md5=checksum(archive)))
    assert prepare("inshop", "cub", "--download") == 2
    shown = capsys.readouterr()
    assert "inshop: In-Shop Clothes Retrieval is not complete" in shown.err
    assert "cub: complete, 16 images" in shown.out
    assert (tmp_path / "CUB_200_2011" / "images").is_dir()


def test_other_data_sets(prepare, tmp_path, capsys):
    assert prepare("mnist", "fashion_mnist", "cifar10") == 2
    shown = capsys.readouterr().err
    assert "mnist: MNIST is not complete" in shown
    assert "fashion_mnist: FashionMNIST is not complete" in shown
    assert "cifar10: CIFAR10 is not complete" in shown


def test_the_list_of_names_needs_no_torch():
    program = "import sys; from metriscope.cli import run; run('data', ['--help'])"
    check = f"import atexit, sys; atexit.register(lambda: print('torch' in sys.modules)); {program}"
    shown = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True).stdout
    assert "cars196, cifar10, cub, fashion_mnist, inshop, mnist, sop, tiny_imagenet" in " ".join(shown.split())
    assert shown.endswith("False\n")
